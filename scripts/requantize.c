// Writes a GGUF model again with Q4_0 weights, the 4-bit form that x86 computes fastest; used once, by scripts/setup.
#include <llama.h>
#include <stdio.h>

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: requantize IN.gguf OUT.gguf\n");
        return 2;
    }
    llama_backend_init();
    struct llama_model_quantize_params params = llama_model_quantize_default_params();
    params.ftype = LLAMA_FTYPE_MOSTLY_Q4_0;
    params.allow_requantize = true;
    params.nthread = 2;
    if (llama_model_quantize(argv[1], argv[2], &params) != 0) {
        fprintf(stderr, "requantize: %s can't be read or %s can't be written\n", argv[1], argv[2]);
        return 1;
    }
    return 0;
}
