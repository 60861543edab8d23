"""A server whose repository is open: no token, but no web pages either."""

import httpx
import tritonclient.http

import clipper


def total(rows):
    return [float(row.sum()) for row in rows]


def test_where_the_repository_is_open_no_token_is_needed_but_pages_may_not():
    with clipper.local(oip_repository="open") as cl:
        cl.deploy_model("total", 1, total, input_type="doubles")
        query = httpx.get(f"{cl.session.admin_url}/admin/status").json()["query"]
        with tritonclient.http.InferenceServerClient(query.removeprefix("http://")) as client:
            client.unload_model("total")
            assert not client.is_model_ready("total")
            page = {"Origin": "http://page.example"}
            reply = httpx.post(f"{query}/v2/repository/models/total/load", headers=page)
            assert (reply.status_code, reply.json()["code"]) == (403, "forbidden")
            client.load_model("total")
            assert client.is_model_ready("total")
