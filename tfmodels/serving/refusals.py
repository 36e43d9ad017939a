"""Why a server does not answer, with the codes that TF Serving gives by gRPC and by REST.

In: the name of a code and a message. Out: an exception that both transports understand.
"""

# Code of gRPC: status of HTTP.
STATUS = {
    "OK": 200, "INVALID_ARGUMENT": 400, "FAILED_PRECONDITION": 400, "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429, "CANCELLED": 499, "INTERNAL": 500, "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503, "DEADLINE_EXCEEDED": 504,
}  # fmt: skip


class Refused(Exception):
    """A request that is not answered.

    Attributes:
        code: name of the code, of `STATUS`.
        message: for the client.
        status: of HTTP.
    """

    def __init__(self, code: str, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status or STATUS[code]
