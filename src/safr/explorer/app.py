"""Models in, a web application out: the page, its JSON interface, and a page about that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any, cast

from fastapi import APIRouter, FastAPI, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.exceptions import HTTPException

import safr
from safr.errors import InputError
from safr.explorer.explanation_payload import ExplanationPayload, PackedMatrix, SitePayload
from safr.explorer.model_session import BusyError, ModelSession, ModelWorker
from safr.explorer.page import live_security_policy, render_api_page, render_page
from safr.explorer.payload import PagePayload, RunSummary, TextRow
from safr.explorer.what_if import WhatIf, WhatIfPrediction

MAX_LETTERS = 100_000
"""Of a text; what a model reads of it is limited by the tokens it was trained with."""

MAX_DELETED = 10_000


_TOLD: tuple[Any, ...] = (PackedMatrix, SitePayload, ExplanationPayload, WhatIfPrediction, WhatIf, TextRow, RunSummary)
for _each in _TOLD:  # what the fields' own lines say of them is what the interface says too
    _each.__pydantic_config__ = ConfigDict(use_attribute_docstrings=True)


class Problem(BaseModel):
    """Why a question was not answered."""

    error: str = Field(description="One line: what was expected, what came, what to do.")


class Question(BaseModel):
    """A text, typed or of the test split, for one of the models."""

    model_config = ConfigDict(extra="forbid", strict=True)

    run: str = Field(description="Name of the run whose model is asked.", max_length=500)
    text: str | None = Field(None, description="Any text.", max_length=MAX_LETTERS)
    number: int | None = Field(None, description="Number of a text of the test split, instead of `text`.")

    @model_validator(mode="after")
    def _one_of_both(self) -> Question:
        if (self.text is None) == (self.number is None):
            raise ValueError("expected either `text` or `number`")
        return self


class DeletionQuestion(Question):
    """A text without some of its words, for one of the models."""

    deleted: list[Annotated[int, Field(ge=0)]] = Field(
        description="Numbers of the words that are missing, from 0.", max_length=MAX_DELETED
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


_PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The body can't be read."},
    401: {"model": Problem, "description": "The token is missing or wrong."},
    403: {"model": Problem, "description": "The request is another page's."},
    404: {"model": Problem, "description": "No such run or text."},
    408: {"model": Problem, "description": "The body came too slowly."},
    413: {"model": Problem, "description": "The body is too large."},
    421: {"model": Problem, "description": "The request calls the server by another's name."},
    422: {"model": Problem, "description": "The question can't be answered."},
    503: {"model": Problem, "description": "Too many questions wait."},
    504: {"model": Problem, "description": "The answer took too long."},
}
_READING: dict[int | str, dict[str, Any]] = {status: _PROBLEMS[status] for status in (401, 403, 421, 422)}

routes = APIRouter()


def create_app(readers: Sequence[ModelSession], contents: PagePayload) -> FastAPI:
    """The page and its interface; what stands before it is `Guard`'s.

    Args:
        readers: The models of the runs that the contents tell of.
        contents: What the page is given.
    """
    desk = ModelWorker({reader.run.name: reader for reader in readers}, contents)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        effects = asyncio.create_task(desk.find_effects())
        yield
        effects.cancel()
        desk.close()
        with suppress(asyncio.CancelledError):
            await effects

    made = FastAPI(
        title="SAFR explorer",
        version=safr.__version__,
        summary="How the words of a text share a model's neurons.",
        docs_url=None,  # FastAPI's own pages load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    made.state.desk = desk
    made.state.page = render_page(contents)
    made.include_router(routes)
    made.add_exception_handler(InputError, lambda _, error: _problem(422, str(error)))
    made.add_exception_handler(BusyError, lambda *_: _problem(503, "too many questions wait already; ask again soon"))
    made.add_exception_handler(TimeoutError, lambda *_: _problem(504, "this took too long; ask about a shorter text"))
    made.add_exception_handler(RequestValidationError, _refused)
    made.add_exception_handler(HTTPException, _http_problem)
    made.add_exception_handler(Exception, lambda *_: _problem(500, "a defect of ours; the server's terminal tells it"))
    return made


@routes.get("/", response_class=HTMLResponse, include_in_schema=False)
def get_page(request: Request) -> HTMLResponse:
    """The page."""
    return HTMLResponse(request.app.state.page, headers={"Content-Security-Policy": live_security_policy()})


@routes.get("/docs", response_class=HTMLResponse, include_in_schema=False)
def get_api_page(request: Request) -> HTMLResponse:
    """The page about the interface."""
    html, policy = render_api_page(request.app.openapi())
    return HTMLResponse(html, headers={"Content-Security-Policy": policy})


@routes.get("/api/runs", responses=_READING)
async def get_runs(request: Request) -> list[RunSummary]:
    """The runs with their scores and the history of their training."""
    return _desk(request).contents.runs


@routes.get("/api/texts", responses=_READING)
async def get_texts(
    request: Request,
    start: Annotated[int, Query(ge=0, le=10**9, description="How many to pass over.")] = 0,
    count: Annotated[int, Query(ge=1, le=1000, description="How many to tell.")] = 100,
) -> Texts:
    """The test texts with what every run predicts."""
    rows = _desk(request).contents.rows
    return Texts(total=len(rows), rows=rows[start : start + count])


@routes.get("/api/texts/{number}", responses={**_READING, 404: _PROBLEMS[404]})
async def get_text(request: Request, number: Annotated[int, Path(description="As in `/api/texts`.")]) -> TextRow:
    """One of them."""
    found = next((row for row in _desk(request).contents.rows if row.number == number), None)
    if found is None:
        raise HTTPException(404, f"no text has the number {number}")
    return found


@routes.get("/api/effects", responses=_READING)
async def get_effects(request: Request) -> Effects:
    """What deleting does to each text, which is computed while the server runs."""
    desk = _desk(request)
    return Effects(effects=desk.effects, pending=desk.pending)


@routes.post("/api/explain", responses=_PROBLEMS)
async def post_explain(request: Request, question: Question) -> ExplanationPayload:
    """How the words of a text share a model's neurons, at every site."""
    desk, (asked, number) = _desk(request), _asked(request, question)
    return await desk.answer(lambda: desk.read(question.run, asked, number))


@routes.post("/api/what-if", responses=_PROBLEMS)
async def post_what_if(request: Request, question: Question) -> WhatIf:
    """What becomes of the prediction as more and more words are deleted, by scores and at random."""
    desk, (asked, _) = _desk(request), _asked(request, question)
    return await desk.answer(lambda: desk.readers[question.run].what_if(asked))


@routes.post("/api/predict", responses=_PROBLEMS)
async def post_predict(request: Request, question: DeletionQuestion) -> WhatIfPrediction:
    """What the model predicts without some of the words."""
    desk, (asked, _) = _desk(request), _asked(request, question)
    return await desk.answer(lambda: desk.readers[question.run].predict_without(asked, frozenset(question.deleted)))


def _desk(request: Request) -> ModelWorker:
    return cast(ModelWorker, request.app.state.desk)


def _asked(request: Request, question: Question) -> tuple[str, int | None]:
    """The question's text, and its number where it is one of the test split."""
    desk = _desk(request)
    if question.run not in desk.readers:
        raise HTTPException(404, f"no such run; there are {', '.join(desk.readers)}")
    if question.number is None:
        return cast(str, question.text), None
    if question.number not in desk.texts:
        raise HTTPException(404, f"no text has the number {question.number}")
    return desk.texts[question.number], question.number


def _problem(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": message}, status_code=status)


def _http_problem(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": str(error.detail)}, status_code=error.status_code, headers=error.headers)


def _refused(_: Request, error: Exception) -> JSONResponse:
    """One line about the first thing that is wrong; what was sent is not sent back."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return _problem(422, f"{place}: {first['msg']}; see /docs for what is expected")
