"""Drives a gateway with OpenAI's own SDK: chat, responses, embeddings, models, vector stores; streaming too.

Usage: openai_sdk.py URL TOKEN. The documents of `tests/clients.rs` must be in. Any failure ends it with another exit code.
"""

import base64
import struct
import sys

import openai

url, token = sys.argv[1:3]
client = openai.OpenAI(base_url=f"{url}/v1", api_key=token, max_retries=0, timeout=60)
QUESTION = "Who cast the bell of Nordhafen?"


def check(what, truth):
    if not truth:
        raise SystemExit(f"not as it should be: {what}")


def refused(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise SystemExit(f"not refused with {kind.__name__}")


def cites(extras, what):
    check(f"{what}: a citation", extras["citations"] and extras["citations"][0]["document_id"] == "bell")
    check(f"{what}: the quote", "Marta Quist" in extras["citations"][0]["quote"])
    check(f"{what}: degraded, query id, trace", {"degraded", "query_id", "trace_id"} <= extras.keys())


def chat():
    answer = client.chat.completions.create(model="ragstone", messages=[{"role": "user", "content": QUESTION}])
    check("chat: the answer", "Marta Quist" in answer.choices[0].message.content)
    check("chat: it ended by itself", answer.choices[0].finish_reason == "stop")
    check("chat: usage", answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens)
    cites(answer.model_extra["ragstone"], "chat")


def chat_streamed():
    text, usage, extras, finish = "", None, None, None
    stream = client.chat.completions.create(
        model="ragstone",
        messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}],
        stream=True,
        stream_options={"include_usage": True},
        extra_body={"ragstone": {"k": 3}},
    )
    for chunk in stream:
        extras = chunk.model_extra.get("ragstone", extras)
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
    check("streamed chat: the answer", "Marta Quist" in text)
    check("streamed chat: usage", usage and usage.total_tokens == usage.prompt_tokens + usage.completion_tokens)
    check("streamed chat: it ended by itself", finish == "stop")
    cites(extras, "streamed chat")
    check("streamed chat: k", len(extras["contexts"]) <= 3)


def chat_of_several_turns():
    messages = [
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": "Marta Quist cast it [1]."},
        {"role": "user", "content": [{"type": "text", "text": "And in which year?"}]},
    ]
    answer = client.chat.completions.create(model="ragstone", messages=messages)
    check("follow-up: found by what it is about", "1612" in answer.choices[0].message.content)
    cites(answer.model_extra["ragstone"], "follow-up")


def responses():
    answer = client.responses.create(model="ragstone", input=QUESTION)
    check("response: the answer", "Marta Quist" in answer.output_text and answer.status == "completed")
    annotation = answer.output[0].content[0].annotations[0]
    check("response: a file citation", annotation.type == "file_citation" and annotation.file_id == "bell")
    check("response: its place", answer.output_text[annotation.index] == "[")
    cites(answer.model_extra["ragstone"], "response")


def responses_streamed():
    text, annotations, done, numbers = "", 0, None, []
    with client.responses.stream(model="ragstone", input=[{"role": "user", "content": QUESTION}]) as stream:
        for event in stream:
            numbers.append(event.sequence_number)
            if event.type == "response.output_text.delta":
                text += event.delta
            elif event.type == "response.output_text.annotation.added":
                annotations += 1
            elif event.type == "response.completed":
                done = event.response
        final = stream.get_final_response()
    check("streamed response: the answer", "Marta Quist" in text and final.output_text == text)
    check("streamed response: annotations", annotations == len(done.output[0].content[0].annotations) > 0)
    check("streamed response: numbered", numbers == list(range(len(numbers))))


def embeddings():
    plain = client.embeddings.create(model=embedding_model(), input=["a bell", "a boat"], encoding_format="float")
    packed = client.embeddings.create(model=embedding_model(), input="a bell", encoding_format="base64")
    values = packed.data[0].embedding
    if isinstance(values, str):
        raw = base64.b64decode(values)
        values = struct.unpack(f"<{len(raw) // 4}f", raw)
    check("embeddings: one for each", [item.index for item in plain.data] == [0, 1])
    same = max(abs(a - b) for a, b in zip(plain.data[0].embedding, values))
    check("embeddings: the same in both forms", same < 1e-3)


def embedding_model():
    models = [model.id for model in client.models.list()]
    check("models: both", "ragstone" in models and len(models) == 2)
    return next(model for model in models if model != "ragstone")


def vector_stores():
    page = client.vector_stores.search(
        vector_store_id="ragstone",
        query="bell",
        max_num_results=5,
        filters={"type": "eq", "key": "town", "value": "Nordhafen"},
    )
    check("vector store: what was found", [hit.file_id for hit in page.data] == ["bell"])
    check("vector store: attributes", page.data[0].attributes["town"] == "Nordhafen")
    check("vector store: its text", "Marta Quist" in page.data[0].content[0].text)


def mistakes():
    ask = client.chat.completions.create
    question = [{"role": "user", "content": QUESTION}]
    refused(openai.NotFoundError, lambda: ask(model="gpt-5", messages=question))
    refused(openai.BadRequestError, lambda: ask(model="ragstone", messages=question, n=2))
    refused(openai.BadRequestError, lambda: ask(model="ragstone", messages=[]))
    error = refused(openai.BadRequestError, lambda: ask(model="ragstone", messages=[{"role": "user", "content": "x" * 1001}]))
    check("mistakes: told in words", "1001" in error.body["message"] and error.body["type"] == "invalid_request_error")
    refused(openai.NotFoundError, lambda: client.vector_stores.search(vector_store_id="other", query="x"))
    refused(openai.NotFoundError, lambda: client.models.retrieve("other"))
    refused(openai.NotFoundError, lambda: client.embeddings.create(model="other", input="x"))
    refused(openai.BadRequestError, lambda: client.responses.create(model="ragstone", input="x", previous_response_id="r"))
    if token != "none":
        other = openai.OpenAI(base_url=f"{url}/v1", api_key="rsk_nobody_knows", max_retries=0)
        refused(openai.AuthenticationError, lambda: other.models.list())


for step in (chat, chat_streamed, chat_of_several_turns, responses, responses_streamed, embeddings, vector_stores, mistakes):
    step()
    print(f"openai {openai.__version__}: {step.__name__}", file=sys.stderr)
