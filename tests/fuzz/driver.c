/* libFuzzer around one Python function: CAXTON_FUZZ_TARGET names the module whose `one_input` takes the bytes.

The interpreter is not instrumented, caxton's extensions are (tests/fuzz/run.py): the coverage that leads the search is theirs alone. The program is
linked with the runtimes of the fuzzer and of the sanitizers, and the extensions find them in it.

An exception of the target is a finding like a crash: its traceback is printed and the process aborts. */

#include <Python.h>

static PyObject *one_input;

static void fail(const char *what) {
    fprintf(stderr, "fuzz: %s\n", what);
    if (PyErr_Occurred())
        PyErr_Print();
    fflush(NULL);
    abort();
}

static const char *variable(const char *name) {
    const char *value = getenv(name);
    if (value == NULL)
        fail(name);
    return value;
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    PyConfig config;
    PyStatus status;
    PyObject *module;
    (void)argc, (void)argv;
    PyConfig_InitPythonConfig(&config);
    config.install_signal_handlers = 0;
    config.parse_argv = 0;
    /* the interpreter of the environment: from its place Python finds what is installed there */
    status = PyConfig_SetBytesString(&config, &config.program_name, variable("CAXTON_FUZZ_PYTHON"));
    if (!PyStatus_Exception(status))
        status = Py_InitializeFromConfig(&config);
    if (PyStatus_Exception(status))
        fail(status.err_msg);
    PyConfig_Clear(&config);
    module = PyImport_ImportModule(variable("CAXTON_FUZZ_TARGET"));
    one_input = module == NULL ? NULL : PyObject_GetAttrString(module, "one_input");
    if (one_input == NULL)
        fail("the target cannot be imported");
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    /* not copied: whoever reads behind its end meets the sanitizer */
    PyObject *view = PyMemoryView_FromMemory((char *)data, (Py_ssize_t)size, PyBUF_READ);
    PyObject *result = view == NULL ? NULL : PyObject_CallFunctionObjArgs(one_input, view, NULL);
    if (result == NULL)
        fail("the target failed");
    Py_DECREF(result);
    Py_DECREF(view);
    return 0;
}
