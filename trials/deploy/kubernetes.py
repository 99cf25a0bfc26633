"""Checks the files in deploy/kubernetes. `kubernetes` beside this file says how, and calls it."""

import copy
import http.client
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path

import kubernetes_validate
import yaml

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "kubernetes"
VERSIONS = ["1.30", kubernetes_validate.latest_version()]
LABEL = ("app.kubernetes.io/name", "paddington")
# Groups whose kinds have schemas of their own, of operators.
OPERATORS = {"monitoring.coreos.com", "postgresql.cnpg.io", "barmancloud.cnpg.io"}
# What tells entries of a list apart in a patch.
KEYS = {"containers": "name", "env": "name", "volumes": "name", "volumeMounts": "mountPath"}
PATIENCE = 20

program, work = sys.argv[1], Path(sys.argv[2])


def read(path):
    return list(yaml.safe_load_all((FOLDER / path).read_text()))


def merge(base, patch, field=""):
    """Merges a patch into an object, as Kustomize does."""
    if isinstance(base, dict) and isinstance(patch, dict):
        for key, value in patch.items():
            base[key] = merge(base[key], value, key) if key in base else value
        return base
    if isinstance(base, list) and field in KEYS:
        for entry in patch:
            known = [it for it in base if it[KEYS[field]] == entry[KEYS[field]]]
            merge(known[0], entry) if known else base.append(entry)
        return base
    return patch


def built(components, base="."):
    """Returns the objects of a kustomization, with these components."""
    whole = read(f"{base}/kustomization.yaml")[0]
    objects = [it for path in whole["resources"] for it in read(f"{base}/{path}")]
    for made in whole.get("secretGenerator", []):
        data = {file: (FOLDER / base / file).read_text() for file in made["files"]}
        objects.append({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": made["name"]}, "stringData": data})
    for name in components:
        component = read(f"{name}/kustomization.yaml")[0]
        assert component["kind"] == "Component", name
        for path in component.get("resources", []):
            objects += read(f"{name}/{path}")
        for made in component.get("configMapGenerator", []):
            data = {file: (FOLDER / name / file).read_text() for file in made["files"]}
            objects.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": made["name"]}, "data": data})
        for patch in component.get("patches", []):
            patch = read(f"{name}/{patch['path']}")[0]
            patched = [it for it in objects if (it["kind"], it["metadata"]["name"]) == (patch["kind"], patch["metadata"]["name"])]
            assert len(patched) == 1, f"{name} changes one object"
            merge(patched[0], copy.deepcopy(patch))
    return objects


def validate(objects):
    for it in objects:
        name, labels = it["metadata"]["name"], it["metadata"].get("labels")
        assert name.startswith("paddington"), it
        assert labels is None or LABEL in labels.items(), it
        for version in VERSIONS:
            if it["apiVersion"].split("/")[0] not in OPERATORS:
                kubernetes_validate.validate(it, version, strict=True)
    pod = next(it for it in objects if it["kind"] == "Deployment")["spec"]["template"]["spec"]
    volumes = {it["name"] for it in pod["volumes"]}
    for container in pod["containers"]:
        assert {it["name"] for it in container["volumeMounts"]} <= volumes, container["name"]
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] and not security["allowPrivilegeEscalation"]
    maps = {it["metadata"]["name"] for it in objects if it["kind"] == "ConfigMap"}
    used = {it["configMap"]["name"] for it in pod["volumes"] if "configMap" in it}
    assert used == maps, (used, maps)
    return pod


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Service:
    """The service of the objects, in a folder that stands for its volume."""

    def __init__(self, name, objects, pod):
        self.state = work / name
        self.state.mkdir(mode=0o700)
        self.api = free_port()
        self.env = dict(os.environ)
        for it in pod["containers"][0].get("env", []):
            self.env[it["name"]] = self.here(it["value"])
        text = next(it for it in objects if it["kind"] == "ConfigMap" and "service.toml" in it["data"])["data"]["service.toml"]
        assert text.count("/var/lib/paddington/") == 3, "links, outbox and socket are in the volume"
        with open(os.open(self.state / "service.toml", os.O_WRONLY | os.O_CREAT, 0o600), "w") as out:
            out.write(self.here(text).replace("6501", str(free_port())))
        with open(os.open(self.state / "secret", os.O_WRONLY | os.O_CREAT, 0o400), "w") as out:
            out.write("5a" * 32)

    def here(self, text):
        text = text.replace("/var/lib/paddington", str(self.state)).replace(":6580", f":{self.api}")
        return text.replace("/run/secrets/paddington", str(self.state))

    def call(self, *arguments):
        command = [program, "-C", self.state, *arguments]
        return subprocess.run(command, env=self.env, capture_output=True, text=True)

    def done(self, *arguments):
        ended = self.call(*arguments)
        assert ended.returncode == 0, f"{arguments}: {ended.stdout}{ended.stderr}"
        return ended.stdout

    def __enter__(self):
        log = open(self.state / "log", "w")
        self.process = subprocess.Popen([program, "-C", self.state, "run", "--log", "json"], env=self.env, stdout=log, stderr=log)
        wait(lambda: self.call("status").returncode == 0, self.state / "log")
        return self

    def __exit__(self, *_):
        self.process.terminate()
        assert self.process.wait(PATIENCE) == 0, "it ends in order at SIGTERM"


def wait(is_so, log):
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def answer(port, path, method="GET"):
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request(method, path)
        found = connection.getresponse()
        return found.status, found.read().decode()
    except OSError:
        return 0, ""


def metrics(objects, service):
    """Reads the metrics through HAProxy, which gives nothing else away."""
    haproxy = shutil.which("haproxy") or shutil.which("/usr/sbin/haproxy")
    if not haproxy:
        return "the metrics were not read, because HAProxy is not installed"
    port, config = free_port(), work / "haproxy.cfg"
    shown = next(it for it in objects if it["metadata"]["name"] == "paddington-metrics" and it["kind"] == "ConfigMap")
    config.write_text(service.here(shown["data"]["haproxy.cfg"]).replace(":9180", f"127.0.0.1:{port}"))
    env = {**os.environ, "TOKEN": (service.state / "api.token").read_text().strip()}
    log = open(work / "haproxy.log", "w")
    process = subprocess.Popen([haproxy, "-db", "-f", config], env=env, stdout=log, stderr=log)
    try:
        wait(lambda: answer(port, "/metrics")[0] == 200, work / "haproxy.log")
        assert "paddington_peers 0" in answer(port, "/metrics")[1]
        for path, method in [("/v1/peers", "GET"), ("/", "GET"), ("/metrics/../v1/peers", "GET"), ("/metrics", "POST")]:
            assert answer(port, path, method)[0] == 403, path
    finally:
        process.terminate()
        process.wait(PATIENCE)
    return "Prometheus reads the metrics through HAProxy, and nothing else"


def kustomized(folder, objects):
    """Compares with what Kustomize makes, where kubectl is installed. Names of what it generates end with a hash."""
    if not shutil.which("kubectl"):
        return
    made = subprocess.run(["kubectl", "kustomize", FOLDER / folder], capture_output=True, text=True, check=True)
    names = sorted((it["kind"], it["metadata"]["name"]) for it in yaml.safe_load_all(made.stdout))
    expected = sorted((it["kind"], it["metadata"]["name"]) for it in objects)
    assert len(names) == len(expected), names
    for (kind, name), (wanted, begin) in zip(names, expected):
        assert kind == wanted and name.startswith(begin), (kind, name, begin)


def one_of(objects, kind):
    found = [it for it in objects if it["kind"] == kind]
    assert len(found) == 1, f"{len(found)} of {kind}"
    return found[0]


def database(objects, pod, text):
    """Checks that the replicas and the backup mean the database that is there, before and after a restore."""
    found, store = one_of(objects, "Cluster"), one_of(objects, "ObjectStore")["metadata"]["name"]
    name, spec = found["metadata"]["name"], found["spec"]
    owner = spec["bootstrap"]["initdb"]
    url = urllib.parse.urlsplit(re.search(r'"(postgres://.*?)"', text)[1])
    assert (url.username, url.hostname, url.path) == (owner["owner"], f"{name}-rw", f"/{owner['database']}"), url
    backup = one_of(objects, "ScheduledBackup")["spec"]
    assert backup["cluster"]["name"] == name and backup["pluginConfiguration"]["name"] == spec["plugins"][0]["name"]
    projected = next(it["projected"] for it in pod["volumes"] if "projected" in it)["sources"]
    assert {it["secret"]["name"] for it in projected} == {f"{name}-app", f"{name}-ca"}
    restored = read("cluster/restore.yaml")[0]
    before = restored["spec"]["externalClusters"][0]
    assert restored["metadata"] == found["metadata"] and restored["spec"]["bootstrap"]["recovery"]["source"] == before["name"]
    assert {it: restored["spec"]["bootstrap"]["recovery"][it] for it in ["database", "owner"]} == owner
    plugin = restored["spec"]["plugins"][0]["parameters"]
    assert before["plugin"]["parameters"]["serverName"] == name != plugin["serverName"], "backups are not written over"
    for it in [found, restored]:
        assert it["spec"]["plugins"][0]["parameters"]["barmanObjectName"] == store
        assert it["spec"]["postgresql"]["synchronous"]["number"] < it["spec"]["instances"]
        for same in ["storage", "walStorage", "affinity", "resources", "postgresql"]:
            assert it["spec"][same] == spec[same], same


def cluster():
    """Checks the two replicas: how they are updated, and their configuration. `replicas` beside this file runs it."""
    for components in [[], ["monitoring"]]:
        objects = built(components, "cluster")
        pod = validate(objects)
    kustomized("cluster", built([], "cluster"))
    objects = built([], "cluster")
    text = one_of(objects, "Secret")["stringData"]["service.toml"]
    deployment = one_of(objects, "Deployment")["spec"]
    rolling = deployment["strategy"]["rollingUpdate"]
    assert deployment["replicas"] - rolling["maxUnavailable"] >= 1 and rolling["maxSurge"] == 0, "a node has room for one"
    assert one_of(objects, "PodDisruptionBudget")["spec"]["minAvailable"] < deployment["replicas"]
    assert one_of(objects, "Ingress")["metadata"]["annotations"]["nginx.ingress.kubernetes.io/upstream-hash-by"] == "$arg_b"
    database(objects, pod, text)
    state = work / "cluster"
    state.mkdir(mode=0o700)
    for name, content in [("service.toml", text.replace("/run/secrets/paddington", str(state))), ("password", "sesame")]:
        with open(os.open(state / name, os.O_WRONLY | os.O_CREAT, 0o600), "w") as out:
            out.write(content)
    ended = subprocess.run([program, "-C", state, "check"], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    print("ok      the files for two replicas fit the schemas of Kubernetes and each other, and their configuration has no problem")


kustomized(".", built([]))
cluster()
everything = ["at-rest", "monitoring"]
for components in [[], *[[it] for it in everything], everything]:
    objects = built(components)
    pod = validate(objects)
    name = "+".join(components) or "alone"
    service = Service(name, objects, pod)
    service.done("check")
    with service:
        service.done("status")
        if "at-rest" in components:
            service.done("invite", "sensor", "--from", "192.0.2.0/24", "--output", str(service.state / "sensor.invitation"))
            assert "sealed_with" in (service.state / "links" / "sensor.toml").read_text()
        elif "monitoring" in components:
            print(f"ok      {metrics(objects, service)}")
print(f"ok      the files for Kubernetes fit its schemas ({', '.join(VERSIONS)}), and the service runs with them")
