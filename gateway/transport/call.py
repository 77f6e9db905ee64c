"""One call as servicers see it, whichever transport it came by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence

from gateway.security.addresses import address_of
from gateway.security.client import Client
from gateway.telemetry.passage import Passage
from gateway.telemetry.span import Attributes
from gateway.telemetry.tracing import NO_TRACE, CallTrace
from gateway.telemetry.undecided import Undecided

CLIENT = "enduser.id"
"""The attribute of the server span with the client's ID."""

Pair = tuple[str, str | bytes]
"""One entry of metadata: a key in lower case, and bytes if the key ends in ``-bin``, else text."""


class Reply:
    """What goes to the client beside the messages."""

    __slots__ = ("compress", "initial", "trailing")

    def __init__(self) -> None:
        self.initial: list[Pair] = []
        self.trailing: list[Pair] = []
        self.compress = False


class Call(ABC):
    """What a servicer may know of the call it answers, and tell the client beside its answer.

    A transport makes one for each call; nothing in it is computed before somebody asks.

    Attributes:
        method: The full method, such as ``trident.risk.v1.RiskService/ScoreRisk``.
        received_ns: When the call's message came, in ns since 1970.
        trace: The trace of this call; ask :func:`.recorded` to note something.
        way: Of its request, once that was answered and nothing was noted of the call.
        client: Who makes it; ``None`` where nobody has to say.
        verdict: Who makes it or why it is refused, until a guard takes that; ``None`` if nobody has
            looked yet.
        reply: What the servicer wants to send beside the messages; ``None`` if nothing.
    """

    __slots__ = ("client", "method", "received_ns", "reply", "trace", "verdict", "way")

    def __init__(self, method: str, received_ns: int) -> None:
        self.method = method
        self.received_ns = received_ns
        self.trace: CallTrace | Undecided = NO_TRACE
        self.way: Passage | None = None
        self.client: Client | None = None
        self.verdict: Client | Exception | None = None
        self.reply: Reply | None = None

    @abstractmethod
    def pairs(self) -> Sequence[Pair]:
        """Return all the metadata of the client, repeated keys too, in its order."""

    @abstractmethod
    def peer(self) -> str:
        """Return the address of the client, such as ``ipv4:127.0.0.1:4711``."""

    def who(self) -> str:
        """Return who makes it: as it has shown, or else its address, without the port."""
        return self.client.id if self.client is not None else address_of(self.peer())

    @abstractmethod
    def time_remaining(self) -> float | None:
        """Return the seconds left until the client's deadline, or ``None`` if it set none."""

    def attributes(self) -> Attributes:
        """Return what its server span is to say beside what every one does: who calls."""
        return {} if self.client is None else {CLIENT: self.client.id}

    def certificate(self) -> bytes | None:
        """Return what the transport tells of the client's certificate, which it has checked."""
        return None

    @property
    def metadata(self) -> Mapping[str, str]:
        """The text metadata of the client, keys in lower case, the last of repeated keys."""
        return Metadata(self)

    def header(self, key: str) -> str | None:
        """Return the last text metadata with this key, if there is one."""
        found = None
        for name, value in self.pairs():
            if name == key and isinstance(value, str):
                found = value
        return found

    def send_initial(self, *pairs: Pair) -> None:
        """Send metadata before the first answer."""
        self._replying().initial.extend(pairs)

    def send_trailing(self, *pairs: Pair) -> None:
        """Send metadata with the end of the call."""
        self._replying().trailing.extend(pairs)

    def compress(self) -> None:
        """Send what is yet to be answered compressed, if the client takes that."""
        self._replying().compress = True

    def _replying(self) -> Reply:
        if self.reply is None:
            self.reply = Reply()
        return self.reply


class Metadata(Mapping[str, str]):
    """The text metadata of a call; a single key is looked up without making a map of all."""

    __slots__ = ("_call",)

    def __init__(self, call: Call) -> None:
        self._call = call

    def __getitem__(self, key: str) -> str:
        value = self._call.header(key)
        if value is None:
            raise KeyError(key)
        return value

    def get(self, key: str, default: str | None = None) -> str | None:  # type: ignore[override]
        """Return the value of a key; not by way of a ``KeyError``, as ``Mapping`` does."""
        value = self._call.header(key)
        return default if value is None else value

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._call.header(key) is not None

    def __iter__(self) -> Iterator[str]:
        return iter({key: None for key, value in self._call.pairs() if isinstance(value, str)})

    def __len__(self) -> int:
        return sum(1 for _ in self)
