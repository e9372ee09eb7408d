/* Loads the driver's CUDA library as any program does, and says what it answers: 100 where there is no device. */
#include <dlfcn.h>
#include <stdio.h>

int main(void) {
    void *library = dlopen("libcuda.so.1", RTLD_NOW);
    if (!library) {
        printf("loader: %s\n", dlerror());
        return 1;
    }
    int (*init)(unsigned) = (int (*)(unsigned))dlsym(library, "cuInit");
    if (!init) {
        printf("loader: %s\n", dlerror());
        return 1;
    }
    printf("cuInit: %d\n", init(0));
    return 0;
}
