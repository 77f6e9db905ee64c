from __future__ import annotations

import torch

from model_builder.recsys.rotary import turned, turns


def test_only_the_distance_of_two_places_counts():
    torch.manual_seed(0)
    query, key = torch.randn(2, 1, 8).expand(2, 12, 8)
    places = turns(12, 8)
    said = turned(query, places) @ turned(key, places).T
    for distance in range(12):
        diagonal = said.diagonal(-distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal))
    assert said[11, 11] != said[11, 3]


def test_turning_changes_no_length_and_the_first_place_nothing():
    torch.manual_seed(0)
    values = torch.randn(3, 5, 4)
    found = turned(values, turns(5, 4))
    torch.testing.assert_close(found.norm(dim=-1), values.norm(dim=-1))
    torch.testing.assert_close(found[:, 0], values[:, 0])
    assert not torch.allclose(found[:, 1:], values[:, 1:])
