"""The RPCs of the three domains; they see a ``Call``, not a transport."""

from __future__ import annotations

from collections.abc import AsyncIterator

from gateway.domains import diagnose, diagnose_columns, recommend, risk
from gateway.transport.answering import Answering
from gateway.transport.call import Call
from gateway.transport.rpcs import in_bytes, parser
from trident.diagnose.v1 import diagnose_service_pb2 as diagnose_pb
from trident.recommend.v1 import recommend_service_pb2 as recommend_pb
from trident.risk.v1 import risk_service_pb2 as risk_pb

_parse_batch = parser(diagnose_pb.BatchDiagnoseRequest)


class RecommendServicer:
    """``trident.recommend.v1.RecommendService``."""

    def __init__(self, answering: Answering) -> None:
        self._answering = answering

    async def Recommend(
        self, request: recommend_pb.RecommendRequest, call: Call
    ) -> recommend_pb.RecommendResponse:
        """Rank items for one history."""
        response: recommend_pb.RecommendResponse = await self._answering.one(
            recommend, request, call
        )
        return response

    async def BatchRecommend(
        self, request: recommend_pb.BatchRecommendRequest, call: Call
    ) -> recommend_pb.BatchRecommendResponse:
        """Rank items for many histories."""
        responses = await self._answering.batch(recommend, request.requests, call)
        return recommend_pb.BatchRecommendResponse(responses=responses)

    def StreamRecommend(
        self, requests: AsyncIterator[recommend_pb.StreamRecommendRequest], call: Call
    ) -> AsyncIterator[recommend_pb.StreamRecommendResponse]:
        """Rank items for histories as they come."""
        return self._answering.stream(
            recommend, requests, recommend_pb.StreamRecommendResponse, call
        )


class DiagnoseServicer:
    """``trident.diagnose.v1.DiagnoseService``."""

    def __init__(self, answering: Answering) -> None:
        self._answering = answering

    async def Diagnose(
        self, request: diagnose_pb.DiagnoseRequest, call: Call
    ) -> diagnose_pb.DiagnoseResponse:
        """Give the probability of each finding."""
        response: diagnose_pb.DiagnoseResponse = await self._answering.one(diagnose, request, call)
        return response

    @in_bytes
    async def BatchDiagnose(self, data: bytes, call: Call) -> bytes:
        """Give the probability of each finding, for many."""
        answer = await self._answering.columns(diagnose_columns, data, call)
        if answer is not None:
            return answer
        request = _parse_batch(data)
        responses = await self._answering.batch(diagnose, request.requests, call)
        return diagnose_pb.BatchDiagnoseResponse(responses=responses).SerializeToString()

    def StreamDiagnose(
        self, requests: AsyncIterator[diagnose_pb.StreamDiagnoseRequest], call: Call
    ) -> AsyncIterator[diagnose_pb.StreamDiagnoseResponse]:
        """Give the probability of each finding, as requests come."""
        return self._answering.stream(diagnose, requests, diagnose_pb.StreamDiagnoseResponse, call)


class RiskServicer:
    """``trident.risk.v1.RiskService``."""

    def __init__(self, answering: Answering) -> None:
        self._answering = answering

    async def ScoreRisk(
        self, request: risk_pb.ScoreRiskRequest, call: Call
    ) -> risk_pb.ScoreRiskResponse:
        """Score one credit."""
        response: risk_pb.ScoreRiskResponse = await self._answering.one(risk, request, call)
        return response

    async def BatchScoreRisk(
        self, request: risk_pb.BatchScoreRiskRequest, call: Call
    ) -> risk_pb.BatchScoreRiskResponse:
        """Score many credits."""
        responses = await self._answering.batch(risk, request.requests, call)
        return risk_pb.BatchScoreRiskResponse(responses=responses)

    def StreamScoreRisk(
        self, requests: AsyncIterator[risk_pb.StreamScoreRiskRequest], call: Call
    ) -> AsyncIterator[risk_pb.StreamScoreRiskResponse]:
        """Score credits as they come."""
        return self._answering.stream(risk, requests, risk_pb.StreamScoreRiskResponse, call)
