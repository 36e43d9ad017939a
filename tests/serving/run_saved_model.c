/* Runs one signature of a SavedModel with TensorFlow's C API, as a program without Python does.
 *
 *   run_saved_model DIRECTORY [LIBRARY ...] < calls
 *
 * LIBRARY: the op libraries of TF-Text. A call is text, numbers apart by blanks:
 *   INPUTS OUTPUTS
 *   NAME INDEX DTYPE RANK DIM ... then the elements      for each input
 *   NAME INDEX                                           for each output
 * Strings are hexadecimal with an `x` before them. Each output is written the same way, without
 * its name, on a line of its own. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"
#include "tensorflow/c/tf_tstring.h"

#define MOST 16

static void check(TF_Status *status) {
  if (TF_GetCode(status) == TF_OK) return;
  fprintf(stderr, "%s\n", TF_Message(status));
  exit(1);
}

static long long number(void) {
  long long value;
  if (scanf("%lld", &value) != 1) exit(2);
  return value;
}

static TF_Output place(TF_Graph *graph) {
  char name[512];
  if (scanf("%511s", name) != 1) exit(2);
  TF_Output found = {TF_GraphOperationByName(graph, name), 0};
  if (found.oper == NULL) {
    fprintf(stderr, "no operation %s\n", name);
    exit(2);
  }
  found.index = (int)number();
  return found;
}

static void read_string(TF_TString *string) {
  static char digits[1 << 20];
  if (scanf("%1048575s", digits) != 1 || digits[0] != 'x') exit(2);
  size_t size = strlen(digits + 1) / 2;
  char *bytes = malloc(size + 1);
  for (size_t i = 0; i < size; i++) {
    unsigned byte;
    sscanf(digits + 1 + 2 * i, "%2x", &byte);
    bytes[i] = (char)byte;
  }
  TF_TString_Init(string);
  TF_TString_Copy(string, bytes, size);
  free(bytes);
}

static TF_Tensor *read_tensor(void) {
  TF_DataType dtype = (TF_DataType)number();
  int rank = (int)number();
  int64_t dims[8], count = 1;
  for (int i = 0; i < rank; i++) count *= dims[i] = number();
  size_t width = dtype == TF_STRING ? sizeof(TF_TString) : TF_DataTypeSize(dtype);
  TF_Tensor *tensor = TF_AllocateTensor(dtype, dims, rank, count * width);
  void *data = TF_TensorData(tensor);
  for (int64_t i = 0; i < count; i++) {
    if (dtype == TF_STRING) {
      read_string((TF_TString *)data + i);
    } else if (dtype == TF_FLOAT) {
      if (scanf("%f", (float *)data + i) != 1) exit(2);
    } else if (dtype == TF_BOOL) {
      ((unsigned char *)data)[i] = (unsigned char)number();
    } else {
      ((int32_t *)data)[i] = (int32_t)number();
    }
  }
  return tensor;
}

static void write_tensor(TF_Tensor *tensor) {
  TF_DataType dtype = TF_TensorType(tensor);
  int rank = TF_NumDims(tensor);
  printf("%d %d", dtype, rank);
  for (int i = 0; i < rank; i++) printf(" %lld", (long long)TF_Dim(tensor, i));
  const void *data = TF_TensorData(tensor);
  for (int64_t i = 0; i < TF_TensorElementCount(tensor); i++) {
    if (dtype == TF_STRING) {
      const TF_TString *string = (const TF_TString *)data + i;
      const unsigned char *bytes = (const unsigned char *)TF_TString_GetDataPointer(string);
      printf(" x");
      for (size_t j = 0; j < TF_TString_GetSize(string); j++) printf("%02x", bytes[j]);
    } else if (dtype == TF_FLOAT) {
      printf(" %.9g", ((const float *)data)[i]);
    } else if (dtype == TF_BOOL) {
      printf(" %d", ((const unsigned char *)data)[i]);
    } else {
      printf(" %d", ((const int32_t *)data)[i]);
    }
  }
  printf("\n");
}

int main(int argc, char **argv) {
  TF_Status *status = TF_NewStatus();
  for (int i = 2; i < argc; i++) {
    TF_LoadLibrary(argv[i], status);
    check(status);
  }
  const char *tags[] = {"serve"};
  TF_Graph *graph = TF_NewGraph();
  TF_SessionOptions *options = TF_NewSessionOptions();
  TF_Session *session =
      TF_LoadSessionFromSavedModel(options, NULL, argv[1], tags, 1, graph, NULL, status);
  check(status);
  int inputs, outputs;
  while (scanf("%d %d", &inputs, &outputs) == 2) {
    TF_Output from[MOST], to[MOST];
    TF_Tensor *given[MOST], *found[MOST];
    if (inputs > MOST || outputs > MOST) exit(2);
    for (int i = 0; i < inputs; i++) {
      from[i] = place(graph);
      given[i] = read_tensor();
    }
    for (int i = 0; i < outputs; i++) to[i] = place(graph);
    TF_SessionRun(session, NULL, from, given, inputs, to, found, outputs, NULL, 0, NULL, status);
    check(status);
    for (int i = 0; i < inputs; i++) TF_DeleteTensor(given[i]);
    for (int i = 0; i < outputs; i++) {
      write_tensor(found[i]);
      TF_DeleteTensor(found[i]);
    }
  }
  TF_CloseSession(session, status);
  TF_DeleteSession(session, status);
  TF_DeleteSessionOptions(options);
  TF_DeleteGraph(graph);
  TF_DeleteStatus(status);
  return 0;
}
