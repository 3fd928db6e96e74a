#!/usr/bin/env bash
# Build the CPU image with buildah, on a Debian machine without a Docker daemon or an image registry, and run a
# recipe in it as an ordinary user with the network cut.
#
#   sudo scripts/build_image_offline.sh             build, then `make recipe NAME=chat-lora` in the image
#   sudo scripts/build_image_offline.sh COMMAND...  another command in the image
#
# The base image is made by mmdebstrap from the machine's own apt sources; package indexes and certificates that the
# machine's clients are told of are mounted into the build and do not get into the image. State: STATE_DIR (default
# /var/tmp/tunebook-image). Needs root, and the packages buildah podman crun mmdebstrap.
set -euo pipefail

state=${STATE_DIR:-/var/tmp/tunebook-image}
base=localhost/tunebook-base tag=localhost/tunebook-cpu
certificates=/etc/ssl/certs/ca-certificates.crt
root=$(cd "$(dirname "$0")/.." && pwd -P)

stop() {
    echo "build-image: $1" >&2
    exit 4
}
say() { echo "build-image: $1, after $SECONDS s"; }

[ "$(id -u)" = 0 ] || stop "needs root, for mount namespaces"
for tool in buildah podman crun mmdebstrap; do
    command -v "$tool" >/dev/null || stop "$tool is missing: apt-get install buildah podman crun mmdebstrap"
done
# A mount namespace of its own: what the engines mount goes away with it, and crun, which refuses cgroup v1 with v2
# beside it, is shown v1 alone.
if [ "${TUNEBOOK_NAMESPACE:-}" != 1 ]; then
    TUNEBOOK_NAMESPACE=1 exec unshare --mount --propagation private -- "$0" "$@"
fi
if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi

mkdir -p "$state"/{host/sources,tmp}
rm -rf --one-file-system "$state/run"
cat >"$state/storage.conf" <<CONF
[storage]
driver = "overlay"
graphroot = "$state/graph"
runroot = "$state/run"
CONF
cat >"$state/containers.conf" <<CONF
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "crun"
tmp_dir = "$state/run/libpod"
volume_path = "$state/volumes"
[containers]
log_driver = "k8s-file"
CONF
echo '{"default": [{"type": "insecureAcceptAnything"}]}' >"$state/policy.json"
export CONTAINERS_STORAGE_CONF=$state/storage.conf CONTAINERS_CONF=$state/containers.conf TMPDIR=$state/tmp

# What this machine's clients are told, for the build only.
trap 'rm -rf "$state/host"' EXIT
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
    if [ -s "$file" ]; then cp "$file" "$state/host/sources/"; fi
done
apt-config dump | grep '^Acquire::' | grep -vE 'IndexTargets|GzipIndexes|Languages|CompressionTypes|Changelogs| "";$' \
    >"$state/host/apt.conf" || true
python3 - "$state/host" "$certificates" <<'PY'
import configparser, os, pathlib, sys

folder, certificates = pathlib.Path(sys.argv[1]), sys.argv[2]
found = {}
for key in ("index-url", "extra-index-url"):
    value = os.environ.get("PIP_" + key.upper().replace("-", "_"), "")
    for path in ("/etc/pip.conf", "~/.pip/pip.conf", "~/.config/pip/pip.conf"):
        config = configparser.RawConfigParser()
        config.read(os.path.expanduser(path))
        value = value or config.get("global", key, fallback="")
    found[key] = [url for url in value.split() if not url.startswith("file:")]
pip = [f"{key} = {' '.join(urls)}" for key, urls in found.items() if urls]
(folder / "pip.conf").write_text("\n".join(["[global]", f"cert = {certificates}", *pip, ""]))
uv = ["native-tls = true"]
if os.path.isdir(os.environ.get("PIP_FIND_LINKS", "")):
    uv.append('find-links = ["/opt/wheels"]')
for key, urls in found.items():
    for url in urls:
        uv += ["[[index]]", f'url = "{url}"'] + (["default = true"] if key == "index-url" else [])
(folder / "uv.toml").write_text("\n".join([*uv, ""]))
PY

if ! buildah inspect --type image "$base" >/dev/null 2>&1; then
    # The mount points of the build exist in the base, or the engine would leave them behind.
    # shellcheck disable=SC1091,SC2016
    mmdebstrap --mode=root --variant=minbase --format=tar --quiet --components=main \
        --include=python3,python3-venv,make,git,ca-certificates \
        --aptopt="$state/host/apt.conf" --aptopt='APT::Install-Recommends "false"' \
        --customize-hook='rm -rf "$1"/etc/apt/sources.list "$1"/etc/apt/sources.list.d/* "$1"/etc/apt/apt.conf.d/99mmdebstrap "$1"/etc/resolv.conf "$1"/etc/hostname "$1"/var/cache/apt/*.bin' \
        --customize-hook='mkdir -p "$1"/etc/apt/sources.list.d "$1"/etc/uv "$1"/opt/wheels && : >"$1"/etc/apt/apt.conf.d/00host && : >"$1"/etc/pip.conf && : >"$1"/etc/uv/uv.toml' \
        "$(. /etc/os-release && echo "$VERSION_CODENAME")" "$state/base.tar" "$state"/host/sources/*
    podman import --quiet "$state/base.tar" "$base" >/dev/null
    rm -f "$state/base.tar"
    say "base image made"
fi

mounts=(
    --volume "$certificates:$certificates:ro"
    --volume "$state/host/sources:/etc/apt/sources.list.d:ro"
    --volume "$state/host/apt.conf:/etc/apt/apt.conf.d/00host:ro"
    --volume "$state/host/pip.conf:/etc/pip.conf:ro"
    --volume "$state/host/uv.toml:/etc/uv/uv.toml:ro"
)
torch=cpu
# A folder of wheels, if pip is pointed at one, has torch too: uv is told of it in its uv.toml.
if [ -d "${PIP_FIND_LINKS:-}" ]; then
    mounts+=(--volume "$PIP_FIND_LINKS:/opt/wheels:ro")
    torch=
fi
arguments=(--build-arg "BASE_IMAGE=$base" --build-arg VENV=/opt/venv --build-arg "TORCH_BACKEND=$torch")
buildah build --layers --force-rm --format docker --isolation oci --network host --pull=never \
    --signature-policy "$state/policy.json" "${arguments[@]}" "${mounts[@]}" --tag "$tag" "$root"
say "image built: $(podman image inspect --format '{{.Size}}' "$tag" | awk '{ printf "%.1f GB", $1 / 1e9 }')"

# As the image's user, no network, no capability. The limits are named, because raising them may be forbidden.
[ "$#" -gt 0 ] || set -- make recipe NAME=chat-lora
podman run --rm --network none --no-healthcheck --cap-drop ALL --security-opt no-new-privileges \
    --ulimit "nofile=$(ulimit -Hn):$(ulimit -Hn)" --ulimit nproc=4096:4096 "$tag" "$@"
say "ran in the image without a network: $*"
