import sys
import httpx

transport = httpx.HTTPTransport(uds=sys.argv[1])
api = httpx.Client(transport=transport, base_url="http://localhost", timeout=60)
while True:
    answer = api.get("/v1/messages").raise_for_status()
    for message in answer.json()["messages"]:
        text = message.get("text", "")
        print(message["peer"], text, flush=True)
        reply = {"text": text.upper()} if message["request"] else {}
        api.post(f"/v1/messages/{message['id']}/handled", json=reply).raise_for_status()
        if text == "stop":
            sys.exit()
