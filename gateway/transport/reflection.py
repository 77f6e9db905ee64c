"""Server reflection, v1 and v1alpha: describes the services to clients that have no stubs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from typing import Any

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pool import Default, DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from google.rpc import code_pb2

from gateway.errors import InvalidRequest
from gateway.transport.call import Call
from gateway.transport.infrastructure import POOL


class ReflectionServicer:
    """Answers in the messages of the version it was asked in.

    Args:
        response_type: ``ServerReflectionResponse`` of a version.
        services: The full names of what is served.
        pools: Where descriptors are looked for, in this order.
    """

    def __init__(
        self,
        response_type: Any,
        services: Iterable[str],
        pools: Sequence[DescriptorPool] = (POOL, Default()),
    ) -> None:
        self._response: Any = GetMessageClass(response_type)
        self._services = sorted(services)
        self._pools = tuple(pools)
        self._questions: dict[str | None, Callable[[Any, Any], None]] = {
            "file_by_filename": self._file_by_filename,
            "file_containing_symbol": self._file_containing_symbol,
            "file_containing_extension": self._file_containing_extension,
            "all_extension_numbers_of_type": self._all_extension_numbers,
            "list_services": self._list_services,
        }

    async def ServerReflectionInfo(
        self, requests: AsyncIterator[Any], call: Call
    ) -> AsyncGenerator[Any]:
        """Answer each question in turn; one that cannot be answered does not end the stream."""
        async for request in requests:
            if isinstance(request, InvalidRequest):
                raise request
            yield self._answer(request)

    def _answer(self, request: Any) -> Any:
        response = self._response(valid_host=request.host, original_request=request)
        answer = self._questions.get(request.WhichOneof("message_request"))
        if answer is None:
            response.error_response.error_code = code_pb2.INVALID_ARGUMENT
            response.error_response.error_message = "The request asks nothing."
            return response
        try:
            answer(request, response)
        except KeyError as error:
            response.error_response.error_code = code_pb2.NOT_FOUND
            response.error_response.error_message = str(error.args[0]) if error.args else ""
        return response

    def _file_by_filename(self, request: Any, response: Any) -> None:
        name = request.file_by_filename
        _put_file(response, self._find(lambda pool: pool.FindFileByName(name)))

    def _file_containing_symbol(self, request: Any, response: Any) -> None:
        symbol = request.file_containing_symbol
        _put_file(response, self._find(lambda pool: pool.FindFileContainingSymbol(symbol)))

    def _file_containing_extension(self, request: Any, response: Any) -> None:
        wanted = request.file_containing_extension

        def find(pool: Any) -> Any:
            message = pool.FindMessageTypeByName(wanted.containing_type)
            return pool.FindExtensionByNumber(message, wanted.extension_number).file

        _put_file(response, self._find(find))

    def _all_extension_numbers(self, request: Any, response: Any) -> None:
        name = request.all_extension_numbers_of_type

        def find(pool: Any) -> list[int]:
            message = pool.FindMessageTypeByName(name)
            return sorted(extension.number for extension in pool.FindAllExtensions(message))

        numbers = self._find(find)
        response.all_extension_numbers_response.base_type_name = name
        response.all_extension_numbers_response.extension_number.extend(numbers)

    def _list_services(self, request: Any, response: Any) -> None:
        response.list_services_response.SetInParent()
        for name in self._services:
            response.list_services_response.service.add(name=name)

    def _find(self, find: Callable[[Any], Any]) -> Any:
        """Return what the first pool that knows it says."""
        for pool in self._pools[:-1]:
            try:
                return find(pool)
            except KeyError:
                continue
        return find(self._pools[-1])


def _put_file(response: Any, file: FileDescriptor) -> None:
    """Answer with a file and all it needs, each after those that need it."""
    found: dict[str, FileDescriptor] = {}

    def collect(one: FileDescriptor) -> None:
        if one.name not in found:
            for needed in one.dependencies:
                collect(needed)
            found[one.name] = one

    collect(file)
    # The file that was asked for comes first, as clients expect.
    response.file_descriptor_response.file_descriptor_proto.extend(
        one.serialized_pb for one in reversed(found.values())
    )
