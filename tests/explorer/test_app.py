import asyncio
import dataclasses
import json
import re
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from starlette.exceptions import HTTPException

from safr.explorer import app, model_worker
from safr.explorer.middleware import MAX_BODY_BYTES
from safr.explorer.model_worker import ModelWorker
from safr.explorer.page import live_security_policy, render_api_page
from safr.explorer.payload import PagePayload
from safr.explorer.turns import BusyError
from safr.runs import Run
from tests import tiny
from tests.explorer.conftest import contents_of


@pytest.fixture
def client(server):
    with httpx.Client(base_url=server, timeout=60) as made:
        yield made


def problem(answer) -> str:
    """The one line of an answer that tells of a problem."""
    assert set(answer.json()) == {"error"}
    assert "\n" not in answer.json()["error"]
    assert "Traceback" not in answer.text
    return answer.json()["error"]


NOTHING = PagePayload(live=True, data="", labels=[], runs=[], rows=[], total=0)


def test_the_page_is_there_with_all_it_needs(client, readers):
    answer = client.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"] == live_security_policy()
    told = contents_of(answer.text)
    assert told["live"] is True
    assert told["readings"] == {}
    assert [run["name"] for run in told["runs"]] == ["baseline", "safr"]


def test_a_sentence_is_explained_as_safr_explain_does(client, readers):
    text = "a bright film and a dull plot"
    for reader in readers:
        found = client.post("/api/explain", json={"run": reader.run.name, "text": text}).json()
        made = reader.explain(text)
        assert found["words"] == list(made.words)
        assert found["prediction"] == made.prediction
        assert found["sites"]["fc1.0"]["capacity"] == pytest.approx(made.capacity.tolist(), rel=1e-3)
        steps = client.post("/api/what-if", json={"run": reader.run.name, "text": text}).json()
        for count, share in zip(steps["counts"], steps["probability"]["capacity"], strict=True):
            deleted = steps["orders"]["capacity"][:count]
            asked = {"run": reader.run.name, "text": text, "deleted": deleted}
            assert client.post("/api/predict", json=asked).json()["followed"] == pytest.approx(share, abs=1e-3)


def test_few_words_that_flip_the_answer_are_found(client, readers):
    for reader in readers:
        asked = {"run": reader.run.name, "text": "a bright film and a dull plot"}
        whole = client.post("/api/predict", json={**asked, "deleted": []}).json()["prediction"]
        for order in ("capacity", "relevance"):
            found = client.post("/api/flip", json={**asked, "order": order}).json()
            left = client.post("/api/predict", json={**asked, "deleted": found["deleted"]}).json()
            assert (left["prediction"], left["followed"]) == (found["prediction"], found["followed"])
            assert (found["prediction"] != whole) == bool(found["deleted"])
    problem = client.post("/api/flip", json={**asked, "order": "beauty"})
    assert problem.status_code == 422
    assert problem.json()["error"].startswith("expected one of the scores capacity, ")


def test_neurons_can_be_switched_off(client, readers):
    text = "a bright film and a dull plot"
    for reader in readers:
        asked = {"run": reader.run.name, "text": text}
        assert client.post("/api/explain", json=asked).json()["neurons"] is None
        strip = client.post("/api/neurons", json=asked).json()
        for neuron, alone in list(zip(strip["neurons"], strip["alone"], strict=True))[:2]:
            found = client.post("/api/neurons-off", json={**asked, "neurons": [neuron]}).json()
            assert found["followed"] == alone
        several = strip["neurons"][:3]
        found = client.post("/api/neurons-off", json={**asked, "neurons": several}).json()
        assert found == dataclasses.asdict(reader.switch_off(text, several))
        assert len(found["random"]) == 5


@pytest.mark.parametrize(
    ("neurons", "said"),
    [
        ([], "body.neurons: List should have at least 1 item"),
        ([-1], "body.neurons.0: Input should be greater than or equal to 0"),
        ([1.5], "body.neurons.0: Input should be a valid integer"),
        (["1"], "body.neurons.0: Input should be a valid integer"),
        ([10**30], "expected neurons from 0 to"),
        ([0] * 1001, "at most 1000 items"),
        (None, "body.neurons"),
    ],
)
def test_neurons_that_can_not_be_switched_off_get_one_line(client, neurons, said):
    answer = client.post("/api/neurons-off", json={"run": "safr", "text": "a film", "neurons": neurons})
    assert answer.status_code == 422
    assert said in problem(answer)


def test_a_neuron_has_its_page(client, readers):
    for reader in readers:
        found = client.get(f"/api/neurons/{reader.run.name}/3").json()
        assert found == dataclasses.asdict(reader.describe_neuron(3))
    for path, said in (
        ("safr/1000000", "safr: no such neuron; they go from 0 to"),
        ("safr/-1", "safr: no such neuron"),
        ("nothing/3", "no such run; there are baseline, safr"),
    ):
        answer = client.get(f"/api/neurons/{path}")
        assert answer.status_code == 404
        assert said in problem(answer)
    assert client.get("/api/neurons/safr/three").status_code == 422


@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        (None, 404, "old: has no table of its neurons; run `safr evaluate"),
        (b"nothing", 422, "neurons.parquet: "),
    ],
)
def test_a_run_without_its_neurons_says_so_and_the_rest_works(readers, tmp_path, content, status, said):
    run = Run(shutil.copytree(readers[1].run.folder, tmp_path / "old"))
    run.neurons_file.unlink()
    if content is not None:
        run.neurons_file.write_bytes(content)
    session = dataclasses.replace(readers[1], run=run)

    async def ask():
        transport = httpx.ASGITransport(app=app.create_app([session], NOTHING))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            question = {"run": "old", "text": "a film", "neurons": [3]}
            return await client.get("/api/neurons/old/3"), await client.post("/api/neurons-off", json=question)

    page, off = asyncio.run(ask())
    assert page.status_code == status
    assert said in problem(page)
    assert off.status_code == 200


def test_a_text_of_the_test_split_can_be_asked_for_by_number(client):
    row = client.get("/api/texts", params={"count": 1}).json()["rows"][0]
    assert client.get(f"/api/texts/{row['number']}").json() == row
    by_number = client.post("/api/explain", json={"run": "safr", "number": row["number"]}).json()
    assert by_number == client.post("/api/explain", json={"run": "safr", "text": row["text"]}).json()


def test_the_effects_are_there_after_a_while(client):
    for _ in range(200):
        found = client.get("/api/effects").json()
        if not found["pending"]:
            break
        asyncio.run(asyncio.sleep(0.05))
    numbers = {str(row["number"]) for row in client.get("/api/texts", params={"count": 1000}).json()["rows"]}
    assert {name: set(each) for name, each in found["effects"].items()} == {"baseline": numbers, "safr": numbers}


@pytest.mark.parametrize(
    ("question", "status", "said"),
    [
        ({"run": "nothing", "text": "a"}, 404, "no such run; there are baseline, safr"),
        ({"run": "../safr", "text": "a"}, 404, "no such run"),
        ({"run": "safr", "number": 10**30}, 404, "no text has the number"),
        ({"run": "safr", "text": " \n"}, 422, "expected a text with at least one word, got none"),
        ({"run": "safr", "text": "a", "number": 1}, 422, "expected either `text` or `number`"),
        ({"run": "safr"}, 422, "expected either `text` or `number`"),
        ({"run": "safr", "text": 3}, 422, "body.text: Input should be a valid string"),
        ({"run": "safr", "text": "a" * 100_001}, 422, "at most 100000 characters"),
        ({"run": "safr", "text": "a", "file": "/etc/passwd"}, 422, "body.file"),
        ([], 422, "body"),
        (None, 422, "body"),
    ],
)
def test_a_question_that_can_not_be_answered_gets_one_line(client, question, status, said):
    answer = client.post("/api/explain", json=question)
    assert answer.status_code == status
    assert said in problem(answer)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff\xfe", b'{"run": "safr", "text": "\\ud800"}', b"[" * 100_000, b"NaN"]
)
def test_malformed_bodies_do_no_harm(client, body):
    answer = client.post("/api/explain", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422)
    problem(answer)
    assert client.post("/api/explain", content=body, headers={"content-type": "text/plain"}).status_code == 422
    assert client.get("/api/runs").status_code == 200


def test_oversize_bodies_are_refused_and_the_server_goes_on(client):
    for body in (b"x" * (MAX_BODY_BYTES + 1), (b"x" * 65536 for _ in range(MAX_BODY_BYTES // 65536 + 1))):
        try:
            answer = client.post("/api/explain", content=body, headers={"content-type": "application/json"})
        except httpx.WriteError:  # the server hung up on what was still being sent
            continue
        assert answer.status_code == 413
        assert "send a shorter text" in problem(answer)
    assert client.get("/api/runs").status_code == 200


@pytest.mark.parametrize("text", [tiny.HOSTILE[0], "word " * 10_000, "🙂 مرحبا 好 \u202e", "\x00", "'; --", "<script>"])
def test_any_text_is_read_as_text(client, text):
    answer = client.post("/api/explain", content=json.dumps({"run": "safr", "text": text}))
    assert answer.status_code == 422  # nothing says that it is JSON
    answer = client.post(
        "/api/explain",
        content=json.dumps({"run": "safr", "text": text}),
        headers={"content-type": "application/json"},
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["truncated"] == (len(text.split()) > tiny.MAX_TOKENS)
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "path",
    ["/config.json", "/../config.json", "/%2e%2e/config.json", "/api/../../etc/passwd", "/model/model.safetensors"],
)
def test_no_file_of_the_run_or_beside_it_can_be_read(client, path):
    answer = client.get(path)
    assert answer.status_code == 404
    problem(answer)


def test_wrong_methods_and_hosts_get_json_too(client):
    assert client.delete("/api/runs").status_code == 405
    assert problem(client.get("/api/texts", params={"count": 0})).startswith("query.count")
    refused = client.get("/api/runs", headers={"host": "evil.example"})
    assert refused.status_code == 421
    problem(refused)


@pytest.mark.slow
def test_two_hundred_questions_at_once_are_all_answered(server):
    def ask(number):
        question = {"run": ("safr", "baseline")[number % 2], "text": f"a film {number}"}
        return httpx.post(f"{server}/api/explain", json=question, timeout=180)

    with ThreadPoolExecutor(200) as pool:
        answers = list(pool.map(ask, range(200)))
    assert [answer.status_code for answer in answers] == [200] * 200
    assert [answer.json()["words"][-1] for answer in answers] == [str(number) for number in range(200)]


def test_more_than_may_wait_are_sent_away(readers, monkeypatch):
    monkeypatch.setattr(model_worker, "MAX_WAITING", 2)
    tried = ModelWorker({"safr": readers[1]}, NOTHING)

    release = threading.Event()

    async def ask_four():
        first = [asyncio.create_task(tried.answer(lambda: release.wait(10))) for _ in range(3)]  # one of them runs
        await asyncio.sleep(0.05)
        with pytest.raises(BusyError):
            await tried.answer(lambda: 3)
        release.set()
        assert await asyncio.gather(*first) == [True] * 3
        return await tried.answer(lambda: 4)

    assert asyncio.run(ask_four()) == 4
    tried.close()


def test_the_time_that_a_question_waits_does_not_count_as_its_own(readers, monkeypatch):
    monkeypatch.setattr(model_worker, "TIMEOUT_SECONDS", 1.0)
    tried = ModelWorker({"safr": readers[1]}, NOTHING)

    async def ask_three():
        return await asyncio.gather(*(tried.answer(lambda: time.sleep(0.4)) for _ in range(3)), return_exceptions=True)

    assert asyncio.run(ask_three()) == [None] * 3
    tried.close()


def test_a_question_that_waits_too_long_is_sent_away_and_the_next_is_answered(readers, monkeypatch):
    monkeypatch.setattr(model_worker, "MAX_WAITING_SECONDS", 0.05)
    tried = ModelWorker({"safr": readers[1]}, NOTHING)
    release = threading.Event()

    async def ask_three():
        first = asyncio.create_task(tried.answer(lambda: release.wait(10)))
        await asyncio.sleep(0)
        with pytest.raises(BusyError):
            await tried.answer(lambda: 2)
        release.set()
        return await first, await tried.answer(lambda: 3)

    assert asyncio.run(ask_three()) == (True, 3)
    tried.close()


def test_what_takes_too_long_is_told_and_the_next_is_answered(api, readers, monkeypatch):
    monkeypatch.setattr(model_worker, "TIMEOUT_SECONDS", 0.05)
    monkeypatch.setattr(ModelWorker, "read", lambda *_: time.sleep(0.3))

    async def ask():
        transport = httpx.ASGITransport(app=app.create_app(readers, NOTHING))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.post("/api/explain", json={"run": "safr", "text": "a film"})

    answer = asyncio.run(ask())
    assert answer.status_code == 504
    assert problem(answer) == "this took too long; ask about a shorter text"


def test_a_defect_of_ours_tells_nothing_but_that(readers, monkeypatch):
    def fail(*_):
        raise RuntimeError("/secret/path")

    monkeypatch.setattr(ModelWorker, "read", fail)

    async def ask():
        transport = httpx.ASGITransport(app=app.create_app(readers, NOTHING), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.post("/api/explain", json={"run": "safr", "text": "a film"})

    answer = asyncio.run(ask())
    assert answer.status_code == 500
    assert "secret" not in problem(answer)


def test_the_page_about_the_interface_tells_every_operation_and_loads_nothing(client, api):
    answer = client.get("/docs")
    assert answer.status_code == 200
    assert not re.search(r"<script|https?://|src=", answer.text)
    assert "script-src" not in answer.headers["content-security-policy"]
    for path in api.openapi()["paths"]:
        assert path in answer.text
    assert "Probability of each class, or of the likeliest next tokens." in answer.text
    assert render_api_page(api.openapi())[0] == answer.text


def test_the_words_of_the_test_texts_are_told(client, readers):
    for reader in readers:
        found = client.get(f"/api/words/{reader.run.name}").json()
        assert found == dataclasses.asdict(reader.word_index.table)
        word = found["words"][0]
        texts = client.get(f"/api/words/{reader.run.name}/texts", params={"word": word}).json()
        assert len(texts) == found["texts"][0]
        assert texts == reader.word_index.find_texts(word)
    assert client.get("/api/words/safr/texts", params={"word": "no such word"}).json() == []
    assert client.get("/api/words/nothing").status_code == 404
    assert "no such run" in problem(client.get("/api/words/nothing/texts", params={"word": "a"}))
    assert "query.word" in problem(client.get("/api/words/safr/texts"))


def test_a_pair_of_many_spaces_is_split_at_once():
    """A pattern with spaces around the border would try each of them as its beginning: minutes for one question."""
    spaces = " " * 49_000
    assert app._split_pair(f"{spaces}a{spaces}||{spaces}b{spaces}") == ("a", "b")
    with pytest.raises(HTTPException, match="expected a pair"):
        app._split_pair(f"a{spaces}{spaces}b")
