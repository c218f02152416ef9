// Compiles the frames once, so that their static assertions are checked even when nothing includes them.
#include "swiftlet_wire.h"
