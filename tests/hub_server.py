"""The Hub's HTTP protocol, as its client speaks it, on this machine: models, commits, large files.

with HubServer() as hub:
    hub.endpoint   # for HF_ENDPOINT
    hub.requests   # what was asked, as "GET /api/..."
    hub.fail("PUT", r"/lfs/", "drop", times=1)
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

from tests.card_rules import card_faults

LARGE = (".safetensors", ".bin", ".onnx")


@dataclass(frozen=True)
class Blob:
    content: bytes
    is_large: bool = False

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def oid(self) -> str:
        head = f"blob {len(self.content)}\0".encode()
        return hashlib.sha1(head + self.content).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.is_large else self.oid


@dataclass
class Repo:
    owner: str
    private: bool
    commits: dict[str, dict[str, Blob]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)

    def add(self, ref: str, files: dict[str, Blob], message: str) -> str:
        state = json.dumps([message, len(self.commits), sorted(files)]).encode()
        commit = hashlib.sha1(state).hexdigest()
        self.commits[commit], self.refs[ref], self.messages[commit] = files, commit, message
        return commit

    def find(self, revision: str) -> str | None:
        return revision if revision in self.commits else self.refs.get(revision)


@dataclass
class Fault:
    method: str
    path: str
    kind: int | str  # a status, "drop" or "damage"
    times: int


class Refused(Exception):
    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class HubServer:
    """A Hub with the users alice (who may write under alice and acme) and bob (who may only read).

    Tokens: "alice-token", "bob-token".
    """

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.large: dict[str, bytes] = {}  # what was uploaded, by sha256
        self.requests: list[str] = []
        self.faults: list[Fault] = []
        self.writers = {"alice-token": ("alice", {"alice", "acme"}), "bob-token": ("bob", set())}

    def __enter__(self) -> HubServer:
        hub = self

        class Handler(_Handler):
            server_hub = hub

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        port = self.server.server_address[1]
        self.endpoint, self.cdn = f"http://127.0.0.1:{port}", f"http://localhost:{port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def fail(self, method: str, path: str, kind: int | str, times: int = 1) -> None:
        """Let the next requests that fit fail: with a status, "drop", or "damage" to the bytes."""
        self.faults.append(Fault(method, path, kind, times))

    def files(self, repo_id: str, revision: str = "main") -> dict[str, bytes]:
        repo = self.repos[repo_id]
        return {k: b.content for k, b in repo.commits[repo.refs[revision]].items()}

    def commits(self, repo_id: str) -> list[str]:
        return list(self.repos[repo_id].messages.values())

    def fault(self, method: str, path: str) -> int | str | None:
        for fault in self.faults:
            if fault.times and fault.method == method and re.search(fault.path, path):
                fault.times -= 1
                return fault.kind
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_hub: HubServer

    def log_message(self, *_args: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    # From a request to an answer

    def _answer(self) -> None:
        body = self._body()
        parts = urlsplit(self.path)
        path, self.query = parts.path, parse_qs(parts.query)
        self.server_hub.requests.append(f"{self.command} {path}")
        self.fault = self.server_hub.fault(self.command, path)
        if self.fault == "drop":
            self.close_connection = True
            self.connection.close()
            return
        try:
            if isinstance(self.fault, int):
                raise Refused(self.fault, "as the test wants it")
            for method, pattern, handle in ROUTES:
                found = re.fullmatch(pattern, path)
                if found and self.command in method:
                    handle(self, body, *map(unquote, found.groups()))
                    return
            raise Refused(404, f"no such address {path}")
        except Refused as refusal:
            headers = {"X-Error-Message": str(refusal)}
            if refusal.code:
                headers["X-Error-Code"] = refusal.code
            self._send_json({"error": str(refusal)}, refusal.status, headers)

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            chunks = []
            while size := int(self.rfile.readline().strip() or b"0", 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _send_json(self, content: object, status: int = 200, headers: dict | None = None) -> None:
        data = json.dumps(content).encode()
        self._send(data, status, {"Content-Type": "application/json", **(headers or {})})

    def _send(self, data: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value.encode("latin-1", "replace").decode("latin-1"))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    # Who asks, and what for

    def _user(self) -> tuple[str | None, set[str]]:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and token not in self.server_hub.writers:
            raise Refused(401, "Invalid username or password.")
        return self.server_hub.writers.get(token, (None, set()))

    def _may_write(self, owner: str) -> None:
        user, owners = self._user()
        if user is None:
            raise Refused(401, "Invalid username or password.")
        if owner not in owners:
            raise Refused(403, f"You don't have the rights to write under {owner}")

    def _repo(self, repo_id: str) -> Repo:
        repo = self.server_hub.repos.get(repo_id)
        user, owners = self._user()
        if repo is None or (repo.private and repo.owner not in {user, *owners}):
            raise Refused(404 if user else 401, "Repository not found", "RepoNotFound")
        return repo

    def _commit_of(self, repo: Repo, revision: str) -> str:
        commit = repo.find(revision)
        if commit is None:
            raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit

    # Addresses

    def whoami(self, _body: bytes) -> None:
        user, owners = self._user()
        if user is None:
            raise Refused(401, "Invalid username or password.")
        orgs = [{"name": owner} for owner in sorted(owners - {user})]
        self._send_json({"type": "user", "name": user, "orgs": orgs})

    def create(self, body: bytes) -> None:
        wanted = json.loads(body)
        user, _ = self._user()
        owner = wanted.get("organization") or user
        repo_id = f"{owner}/{wanted['name']}"
        url = f"{self.server_hub.endpoint}/{repo_id}"
        if repo_id in self.server_hub.repos and user is not None:
            message = "You already created this model repo"
            self._send_json({"error": message, "url": url}, 409, {"X-Error-Message": message})
            return
        self._may_write(owner)
        repo = Repo(owner, wanted.get("visibility") == "private" or bool(wanted.get("private")))
        repo.add("main", {".gitattributes": Blob(b"*.bin filter=lfs\n")}, "initial commit")
        self.server_hub.repos[repo_id] = repo
        self._send_json({"url": url, "id": repo_id, "name": repo_id})

    def check_card(self, body: bytes) -> None:
        faults = card_faults(json.loads(body)["content"])
        answer = {"errors": [{"message": fault} for fault in faults], "warnings": []}
        self._send_json(answer, 400 if faults else 200)

    def info(self, _body: bytes, repo_id: str, revision: str | None = None) -> None:
        repo = self._repo(repo_id)
        commit = self._commit_of(repo, revision or "main")
        found = sorted(repo.commits[commit].items())
        files = [{"rfilename": path} for path, _ in found]
        if parse_qs(urlsplit(self.path).query).get("blobs"):  # with what is known of each file
            files = [{"rfilename": path, "size": len(blob.content)} for path, blob in found]
        about = {"id": repo_id, "modelId": repo_id, "sha": commit, "private": repo.private}
        self._send_json({**about, "siblings": files, "tags": [], "downloads": 0})

    def tree(self, _body: bytes, repo_id: str, revision: str) -> None:
        repo = self._repo(repo_id)
        files = repo.commits[self._commit_of(repo, revision)]
        entries = []
        for path, blob in sorted(files.items()):
            entry = {"type": "file", "path": path, "size": len(blob.content), "oid": blob.oid}
            if blob.is_large:
                entry["lfs"] = {"oid": blob.sha256, "size": len(blob.content), "pointerSize": 134}
            entries.append(entry)
        self._send_json(entries)

    def refs(self, _body: bytes, repo_id: str) -> None:
        branches = [
            {"name": name, "ref": f"refs/heads/{name}", "targetCommit": commit}
            for name, commit in self._repo(repo_id).refs.items()
            if not name.startswith("refs/")
        ]
        self._send_json({"branches": branches, "tags": [], "converts": []})

    def branch(self, _body: bytes, repo_id: str, name: str) -> None:
        repo = self._repo(repo_id)
        self._may_write(repo.owner)
        if name in repo.refs:
            raise Refused(409, f"Reference already exists: refs/heads/{name}")
        repo.refs[name] = repo.refs["main"]
        self._send_json({})

    def preupload(self, body: bytes, repo_id: str, revision: str) -> None:
        repo = self._repo(repo_id)
        there = repo.commits[self._commit_of(repo, revision)]
        files = []
        for file in json.loads(body)["files"]:
            path, old = file["path"], there.get(file["path"])
            mode = "lfs" if path.endswith(LARGE) else "regular"
            files.append({"path": path, "uploadMode": mode, "shouldIgnore": False})
            files[-1]["oid"] = old.etag if old else None
        self._send_json({"files": files})

    def batch(self, body: bytes, repo_id: str) -> None:
        self._repo(repo_id)
        objects = []
        for wanted in json.loads(body)["objects"]:
            found = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in self.server_hub.large:
                end = self.server_hub.endpoint
                upload = {"href": f"{self.server_hub.cdn}/lfs/{wanted['oid']}"}
                verify = {"href": f"{end}/{repo_id}.git/lfs/verify"}
                found["actions"] = {"upload": upload, "verify": verify}
            objects.append(found)
        self._send_json({"transfer": "basic", "objects": objects})

    def upload(self, body: bytes, oid: str) -> None:
        if self.fault == "damage":
            body = body[:-1] + bytes([body[-1] ^ 1])
        if hashlib.sha256(body).hexdigest() != oid:
            raise Refused(400, "BadDigest: the SHA256 is not that of the content")
        self.server_hub.large[oid] = body
        self._send_json({})

    def verify(self, body: bytes, _repo_id: str) -> None:
        asked = json.loads(body)
        if len(self.server_hub.large.get(asked["oid"], b"")) != asked["size"]:
            raise Refused(404, "the file was not uploaded")
        self._send_json({})

    def commit(self, body: bytes, repo_id: str, revision: str) -> None:
        repo = self._repo(repo_id)
        is_proposal = self.query.get("create_pr") == ["1"]
        if not is_proposal:
            self._may_write(repo.owner)
        elif self._user()[0] is None:
            raise Refused(401, "Invalid username or password.")
        files = dict(repo.commits[self._commit_of(repo, revision)])
        message = ""
        for line in body.splitlines():
            operation = json.loads(line)
            value = operation["value"]
            match operation["key"]:
                case "header":
                    message = value["summary"]
                case "file":
                    files[value["path"]] = Blob(base64.b64decode(value["content"]))
                case "lfsFile":
                    if value["oid"] not in self.server_hub.large:
                        raise Refused(400, f"no object {value['oid']}")
                    files[value["path"]] = Blob(self.server_hub.large[value["oid"]], True)
                case "deletedFile":
                    if files.pop(value["path"], None) is None:
                        raise Refused(404, "A file with this name doesn't exist", "EntryNotFound")
        number = sum(ref.startswith("refs/pr/") for ref in repo.refs) + 1
        commit = repo.add(f"refs/pr/{number}" if is_proposal else revision, files, message)
        home = f"{self.server_hub.endpoint}/{repo_id}"
        answer = {"commitUrl": f"{home}/commit/{commit}", "commitOid": commit, "success": True}
        if is_proposal:
            answer["pullRequestUrl"] = f"{home}/discussions/{number}"
        self._send_json(answer)

    def resolve(self, _body: bytes, repo_id: str, revision: str, path: str) -> None:
        repo = self._repo(repo_id)
        commit = self._commit_of(repo, revision)
        blob = repo.commits[commit].get(path)
        if blob is None:
            raise Refused(404, "Entry not found", "EntryNotFound")
        headers = {"X-Repo-Commit": commit, "ETag": f'"{blob.etag}"'}
        if not blob.is_large:
            self._send(blob.content, 200, headers)
            return
        linked = {"X-Linked-Etag": f'"{blob.etag}"', "X-Linked-Size": str(len(blob.content))}
        self.server_hub.large.setdefault(blob.sha256, blob.content)
        place = {"Location": f"{self.server_hub.cdn}/cdn/{blob.sha256}"}
        self._send(b"", 302, {**headers, **linked, **place})

    def download(self, _body: bytes, oid: str) -> None:
        content = self.server_hub.large[oid]
        start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        first = int(start[1]) if start else 0
        headers = {"Content-Range": f"bytes {first}-{len(content) - 1}/{len(content)}"}
        data = content[first:]
        if self.fault == "damage":  # a connection that ends in the middle
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
            return
        self._send(data, 206 if start else 200, headers if start else {})


ID = r"([\w.-]+/[\w.-]+)"
ROUTES = [
    ("GET", "/api/whoami-v2", _Handler.whoami),
    ("POST", "/api/repos/create", _Handler.create),
    ("POST", "/api/validate-yaml", _Handler.check_card),
    ("GET", f"/api/models/{ID}", _Handler.info),
    ("GET", f"/api/models/{ID}/revision/([^/]+)", _Handler.info),
    ("GET", f"/api/models/{ID}/tree/([^/]+)", _Handler.tree),
    ("GET", f"/api/models/{ID}/refs", _Handler.refs),
    ("POST", f"/api/models/{ID}/branch/([^/]+)", _Handler.branch),
    ("POST", f"/api/models/{ID}/preupload/([^/]+)", _Handler.preupload),
    ("POST", f"/api/models/{ID}/commit/([^/]+)", _Handler.commit),
    ("POST", rf"/{ID}\.git/info/lfs/objects/batch", _Handler.batch),
    ("POST", rf"/{ID}\.git/lfs/verify", _Handler.verify),
    ("PUT", r"/lfs/([0-9a-f]{64})", _Handler.upload),
    ("GET", r"/cdn/([0-9a-f]{64})", _Handler.download),
    ("GET HEAD", f"/{ID}/resolve/([^/]+)/(.+)", _Handler.resolve),
]
