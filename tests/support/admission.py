"""What a cluster looks at in pods and their labels."""

from __future__ import annotations

from rendered import Object, containers


def assert_restricted(name: str, template: Object) -> None:
    """All that the Pod Security Standard "restricted" asks for, and a read-only root."""
    spec = template["spec"]
    security = spec["securityContext"]
    assert security["runAsNonRoot"] is True, name
    assert security["runAsUser"] > 0
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    kinds = {key for one in spec.get("volumes", ()) for key in one if key != "name"}
    assert kinds <= {"emptyDir", "persistentVolumeClaim", "configMap", "secret"}
    for container in containers(template):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert all("hostPort" not in port for port in container.get("ports", ()))


def selects(selector: Object, labels: Object) -> bool:
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(one["key"]) in one["values"] for one in selector.get("matchExpressions", ())
    )
