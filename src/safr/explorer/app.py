"""The explorer's web application: the page, its JSON interface, and a page that documents the interface."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any, TypeVar, cast

from fastapi import APIRouter, FastAPI, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

import safr
from safr.data.splits import Text
from safr.errors import InputError
from safr.explorer.connections import name_visitor
from safr.explorer.defects import DEFECT_MESSAGE
from safr.explorer.explanation_payload import ExplanationPayload, NeuronsPayload, PackedMatrix, SitePayload
from safr.explorer.model_session import ModelSession
from safr.explorer.model_worker import ModelWorker
from safr.explorer.neurons import NeuronPage, NeuronsOff, TopWord
from safr.explorer.page import live_security_policy, render_api_page, render_page
from safr.explorer.payload import PagePayload, RunSummary, TextRow
from safr.explorer.turns import BusyError, StoppedError
from safr.explorer.what_if import WhatIf, WhatIfFlip, WhatIfPrediction
from safr.explorer.words import WordTable

_PAIR_BORDER = re.compile(r"‖|\|\||\n")

MAX_LETTERS = 100_000
"""Letters of a text in a question. A model reads no more of it than the number of tokens it was trained with."""

MAX_DELETED = 10_000
"""Words that a question may delete."""

MAX_NEURONS_OFF = 1_000
"""Neurons that a question may switch off."""

_Answer = TypeVar("_Answer")

_ANSWER_TYPES: tuple[Any, ...] = (
    PackedMatrix,
    SitePayload,
    NeuronsPayload,
    ExplanationPayload,
    TopWord,
    NeuronPage,
    NeuronsOff,
    WhatIfPrediction,
    WhatIfFlip,
    WhatIf,
    TextRow,
    RunSummary,
    WordTable,
)
for _answer_type in _ANSWER_TYPES:  # the interface describes their fields with the docstrings of the fields
    _answer_type.__pydantic_config__ = ConfigDict(use_attribute_docstrings=True)


class Problem(BaseModel):
    """Why a question was not answered."""

    error: str = Field(description="One line: what was expected, what came, what to do.")


class Question(BaseModel):
    """A text, typed or of the test split, for one of the models."""

    model_config = ConfigDict(extra="forbid", strict=True)

    run: str = Field(description="Name of the run whose model is asked.", max_length=500)
    text: str | None = Field(
        None, description="Any text; a pair with ‖, || or a line break between its texts.", max_length=MAX_LETTERS
    )
    number: int | None = Field(None, description="Number of a text of the test split, instead of `text`.")

    @model_validator(mode="after")
    def _check_text_or_number(self) -> Question:
        if (self.text is None) == (self.number is None):
            raise ValueError("expected either `text` or `number`")
        return self


class DeletionQuestion(Question):
    """A text without some of its words, for one of the models."""

    deleted: list[Annotated[int, Field(ge=0)]] = Field(
        description="Numbers of the words that are missing, from 0.", max_length=MAX_DELETED
    )


class FlipQuestion(Question):
    """A text, for one of the models whose answer is to flip."""

    order: str = Field(
        "capacity",
        description="The score by which words are tried: `capacity`, or `keep` or `relevance` if the model has them.",
        max_length=50,
    )


class NeuronsQuestion(Question):
    """A text, for one of the models with some of its neurons switched off."""

    neurons: list[Annotated[int, Field(ge=0)]] = Field(
        description="Numbers of the neurons that are set to 0 at all tokens, from 0.",
        min_length=1,
        max_length=MAX_NEURONS_OFF,
    )


class Effects(BaseModel):
    """What deleting does to each text, as far as it is computed."""

    effects: dict[str, dict[int, float | None]] = Field(
        description="By run and number of the text, how far the predicted class's probability falls without the 30 % "
        "of words with the highest capacity."
    )
    pending: bool = Field(description="Whether more are being computed.")


class Texts(BaseModel):
    """Some of the texts."""

    total: int = Field(description="How many texts there are to ask for.")
    rows: list[TextRow]


_POST_PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The body can't be read."},
    401: {"model": Problem, "description": "The token is missing or wrong."},
    403: {"model": Problem, "description": "The request comes from another page."},
    404: {"model": Problem, "description": "No such run, text or neuron."},
    408: {"model": Problem, "description": "The body came too slowly."},
    413: {"model": Problem, "description": "The body is too large."},
    421: {"model": Problem, "description": "The request is addressed to another host."},
    422: {"model": Problem, "description": "The question can't be answered."},
    503: {"model": Problem, "description": "Too many questions wait, or the server stops."},
    504: {"model": Problem, "description": "The answer took too long to compute."},
}
_GET_PROBLEMS: dict[int | str, dict[str, Any]] = {status: _POST_PROBLEMS[status] for status in (401, 403, 421, 422)}
_RUN_PROBLEMS: dict[int | str, dict[str, Any]] = {
    **_GET_PROBLEMS,
    **{status: _POST_PROBLEMS[status] for status in (404, 503, 504)},
}
_RUN_PATH = Path(description="Name of the run.", max_length=500)

routes = APIRouter()


def create_app(sessions: Sequence[ModelSession], payload: PagePayload) -> FastAPI:
    """The application with the page and its interface; `AccessMiddleware` protects it.

    Args:
        sessions: The models of the runs in the payload.
        payload: The data of the page.
    """
    worker = ModelWorker({session.run.name: session for session in sessions}, payload)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        effects = asyncio.create_task(worker.find_effects())
        yield
        effects.cancel()
        worker.close()
        with suppress(asyncio.CancelledError):
            await effects

    app = FastAPI(
        title="SAFR explorer",
        version=safr.__version__,
        summary="How the words of a text share a model's neurons.",
        docs_url=None,  # FastAPI's own pages load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.worker = worker
    app.state.page = render_page(payload)
    app.include_router(routes)
    app.add_exception_handler(InputError, lambda _, error: _make_problem_response(422, str(error)))
    app.add_exception_handler(
        BusyError, lambda *_: _make_problem_response(503, "too many questions wait already; ask again soon")
    )
    app.add_exception_handler(StoppedError, lambda *_: _make_problem_response(503, "the server stops; start it again"))
    app.add_exception_handler(
        TimeoutError, lambda *_: _make_problem_response(504, "this took too long; ask about a shorter text")
    )
    app.add_exception_handler(RequestValidationError, _handle_invalid_request)
    app.add_exception_handler(HTTPException, _handle_http_error)
    app.add_exception_handler(Exception, lambda *_: _make_problem_response(500, DEFECT_MESSAGE))
    return app


@routes.get("/", response_class=HTMLResponse, include_in_schema=False)
def get_page(request: Request) -> HTMLResponse:
    """The page."""
    return HTMLResponse(request.app.state.page, headers={"Content-Security-Policy": live_security_policy()})


@routes.get("/docs", response_class=HTMLResponse, include_in_schema=False)
def get_api_page(request: Request) -> HTMLResponse:
    """The page about the interface."""
    html, policy = render_api_page(request.app.openapi())
    return HTMLResponse(html, headers={"Content-Security-Policy": policy})


@routes.get("/api/runs", responses=_GET_PROBLEMS)
async def get_runs(request: Request) -> list[RunSummary]:
    """The runs with their scores and the history of their training."""
    return _get_worker(request).payload.runs


@routes.get("/api/texts", responses=_GET_PROBLEMS)
async def get_texts(
    request: Request,
    start: Annotated[int, Query(ge=0, le=10**9, description="How many to skip.")] = 0,
    count: Annotated[int, Query(ge=1, le=1000, description="How many to return.")] = 100,
) -> Texts:
    """The test texts with what every run predicts."""
    rows = _get_worker(request).payload.rows
    return Texts(total=len(rows), rows=rows[start : start + count])


@routes.get("/api/texts/{number}", responses={**_GET_PROBLEMS, 404: _POST_PROBLEMS[404]})
async def get_text(request: Request, number: Annotated[int, Path(description="As in `/api/texts`.")]) -> TextRow:
    """One of them."""
    text_row = next((row for row in _get_worker(request).payload.rows if row.number == number), None)
    if text_row is None:
        raise HTTPException(404, f"no text has the number {number}")
    return text_row


@routes.get("/api/effects", responses=_GET_PROBLEMS)
async def get_effects(request: Request) -> Effects:
    """What deleting does to each text, which is computed while the server runs."""
    worker = _get_worker(request)
    return Effects(effects=worker.effects, pending=worker.pending)


@routes.post("/api/explain", responses=_POST_PROBLEMS)
async def post_explain(request: Request, question: Question) -> ExplanationPayload:
    """How the words of a text share a model's neurons, at every site."""
    worker, (text, number) = _get_worker(request), _find_text(request, question)
    return await _compute(request, lambda: worker.read(question.run, text, number))


@routes.post("/api/what-if", responses=_POST_PROBLEMS)
async def post_what_if(request: Request, question: Question) -> WhatIf:
    """What becomes of the prediction as more and more words are deleted, by scores and at random."""
    worker, (text, _) = _get_worker(request), _find_text(request, question)
    return await _compute(request, lambda: worker.sessions[question.run].what_if(text))


@routes.post("/api/predict", responses=_POST_PROBLEMS)
async def post_predict(request: Request, question: DeletionQuestion) -> WhatIfPrediction:
    """What the model predicts without some of the words."""
    worker, (text, _) = _get_worker(request), _find_text(request, question)
    deleted = frozenset(question.deleted)
    return await _compute(request, lambda: worker.sessions[question.run].predict_without(text, deleted))


@routes.post("/api/flip", responses=_POST_PROBLEMS)
async def post_flip(request: Request, question: FlipQuestion) -> WhatIfFlip:
    """Few words without which the model says something else; there may be fewer."""
    worker, (text, _) = _get_worker(request), _find_text(request, question)
    return await _compute(request, lambda: worker.sessions[question.run].find_flip(text, question.order))


@routes.post("/api/neurons", responses=_POST_PROBLEMS)
async def post_neurons(request: Request, question: Question) -> NeuronsPayload:
    """The neurons of the explaining layer that a text uses most, with the words that share them."""
    worker, (text, _) = _get_worker(request), _find_text(request, question)
    session = worker.sessions[question.run]
    return await _compute(request, lambda: session.find_neurons(text, session.explain(text)))


@routes.post("/api/neurons-off", responses=_POST_PROBLEMS)
async def post_neurons_off(request: Request, question: NeuronsQuestion) -> NeuronsOff:
    """What the model predicts with some neurons of the explaining layer set to 0, beside as many random ones."""
    worker, (text, _) = _get_worker(request), _find_text(request, question)
    neurons = frozenset(question.neurons)
    return await _compute(request, lambda: worker.sessions[question.run].switch_off(text, neurons))


@routes.get(
    "/api/neurons/{run}/{neuron}",
    responses=_RUN_PROBLEMS,
)
async def get_neuron(
    request: Request,
    run: Annotated[str, _RUN_PATH],
    neuron: Annotated[int, Path(description="Number of the neuron, from 0.")],
) -> NeuronPage:
    """What drives one neuron of the explaining layer over all test texts, and which classes it speaks for."""
    session = _get_session(request, run)
    try:
        return await _compute(request, lambda: session.describe_neuron(neuron))
    except LookupError as error:
        raise HTTPException(404, str(error)) from error


@routes.get("/api/words/{run}", responses=_RUN_PROBLEMS)
async def get_words(request: Request, run: Annotated[str, _RUN_PATH]) -> WordTable:
    """The words of all test texts: where each stands, its mean capacity, and which classes it speaks for."""
    session = _get_session(request, run)
    return await _compute(request, lambda: session.word_index.table)


@routes.get("/api/words/{run}/texts", responses=_RUN_PROBLEMS)
async def get_texts_with_word(
    request: Request,
    run: Annotated[str, _RUN_PATH],
    word: Annotated[str, Query(description="The word, spelled as in `/api/words/{run}`.", max_length=1000)],
) -> list[int]:
    """Numbers of the test texts that hold a word."""
    session = _get_session(request, run)
    return await _compute(request, lambda: session.word_index.find_texts(word))


async def _compute(request: Request, work: Callable[[], _Answer]) -> _Answer:
    """The result of the work, which is dropped when the client leaves.

    Raises:
        ClientDisconnect: The client left.
    """
    visitor = name_visitor(request.client.host if request.client else "")
    answer = asyncio.create_task(_get_worker(request).answer(work, visitor=visitor))
    departure = asyncio.create_task(_wait_for_departure(request))
    try:
        await asyncio.wait((answer, departure), return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise ClientDisconnect
        return await answer
    finally:
        answer.cancel()
        departure.cancel()


async def _wait_for_departure(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _get_worker(request: Request) -> ModelWorker:
    return cast(ModelWorker, request.app.state.worker)


def _get_session(request: Request, run: str) -> ModelSession:
    """The model of a run.

    Raises:
        HTTPException: There is no such run.
    """
    sessions = _get_worker(request).sessions
    if run not in sessions:
        raise HTTPException(404, f"no such run; there are {', '.join(sessions)}")
    return sessions[run]


def _find_text(request: Request, question: Question) -> tuple[Text, int | None]:
    """The question's text, and its number if it is a text of the test split.

    Raises:
        HTTPException: There is no such run or text, or half of a pair is missing.
    """
    worker = _get_worker(request)
    _get_session(request, question.run)
    if question.number is None:
        text = cast(str, question.text)
        return _split_pair(text) if worker.payload.has_pairs else text, None
    if question.number not in worker.texts:
        raise HTTPException(404, f"no text has the number {question.number}")
    return worker.texts[question.number], question.number


def _split_pair(text: str) -> tuple[str, str]:
    first, second, *_ = [*map(str.strip, _PAIR_BORDER.split(text.strip(), maxsplit=1)), ""]
    if not (first and second):
        raise HTTPException(422, "expected a pair: two texts with a double bar (‖ or ||) or a line break between them")
    return first, second


def _make_problem_response(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": message}, status_code=status)


def _handle_http_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": str(error.detail)}, status_code=error.status_code, headers=error.headers)


def _handle_invalid_request(_: Request, error: Exception) -> JSONResponse:
    """One line about the first thing that is wrong, by its name. No value that the visitor sent is sent back."""
    assert isinstance(error, RequestValidationError)
    first_error = error.errors()[0]
    location = ".".join(str(part) for part in first_error["loc"])
    return _make_problem_response(422, f"{location}: {first_error['msg']}; see /docs for what is expected")
