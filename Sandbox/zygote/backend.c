#include "worker.h"
#include <unistd.h>
void backend_open(const loaded *l, const job *j) { (void)l; (void)j; worker_cannot("open", "x"); }
void backend_describe(wire_model *out) { *out = (wire_model){0}; }
void backend_serve(void) { _exit(0); }
