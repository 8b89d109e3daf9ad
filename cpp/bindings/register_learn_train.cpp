#include <pybind11/stl.h>

#include <optional>
#include <utility>

#include "arrays.hpp"
#include "register_learn.hpp"
#include "simskip/learn/trainer.hpp"

namespace simskip::bindings {
namespace {

using learn::DenseLayer;
using learn::EpochDecision;
using learn::EpochReport;

using Floats = std::optional<Array<float>>;
using Rows = std::optional<Array<std::int32_t>>;

template <class T>
const T* vector_or_null(const std::optional<Array<T>>& array, const char* name, py::ssize_t length) {
  if (!array) return nullptr;
  require_length(*array, name, length);
  return array->data();
}

// The layer's buffers move into NumPy arrays.
py::tuple to_tuple(DenseLayer&& layer) {
  const py::ssize_t out = layer.out, in = layer.in;
  return py::make_tuple(to_array(std::move(layer.weight), {out, in}), to_array(std::move(layer.bias)));
}

// Ctrl-C raises in the main thread when Python next looks at its signals; elsewhere this does nothing.
bool interrupted() {
  py::gil_scoped_acquire gil;
  if (PyErr_CheckSignals() == 0) return false;
  if (!PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) throw py::error_already_set();
  PyErr_Clear();
  return true;
}

EpochDecision ask_python(const py::function& on_epoch, const EpochReport& report, const float* outputs,
                         py::ssize_t n_rows, py::ssize_t n_bits) {
  py::gil_scoped_acquire gil;
  py::dict record;
  record["epoch"] = report.epoch;
  record["step"] = report.step;
  record["learning_rate"] = report.learning_rate;
  for (const auto& [name, value] : report.losses) record[py::str(name)] = value;
  record["seconds"] = report.seconds;
  EpochDecision decision;
  try {
    // A copy: Python may keep it, the buffer is used again.
    const py::array_t<float> array({n_rows, n_bits}, outputs);
    const auto answer = py::cast<std::pair<std::optional<double>, bool>>(on_epoch(record, array));
    decision.metric = answer.first;
    decision.stop = answer.second;
  } catch (py::error_already_set& error) {
    if (!error.matches(PyExc_KeyboardInterrupt)) throw;
    decision.interrupted = true;
  }
  return decision;
}

py::dict train(const learn::Settings& settings, const Array<float>& inputs, const Array<std::int32_t>& rows,
               const py::function& on_epoch, const Rows& evaluation_rows, const Floats& row_scale,
               const Floats& row_bias, const Floats& centre, const Floats& gain, const Floats& noise,
               const Rows& labels, std::int64_t n_classes, const Rows& anchors, const Rows& neighbors,
               const Floats& residual_weight, const Floats& residual_bias) {
  require_shape(inputs, "inputs", -1, -1);
  learn::TrainingSet data;
  data.inputs = inputs.data();
  data.n = inputs.shape(0);
  data.d = inputs.shape(1);
  require_length(rows, "rows", rows.size());
  data.rows = rows.data();
  data.n_rows = rows.size();
  data.row_scale = vector_or_null(row_scale, "row_scale", data.n);
  data.row_bias = vector_or_null(row_bias, "row_bias", data.n);
  data.centre = vector_or_null(centre, "centre", data.d);
  data.gain = vector_or_null(gain, "gain", data.d);
  data.noise = vector_or_null(noise, "noise", data.d);
  data.labels = vector_or_null(labels, "labels", data.n);
  data.n_classes = n_classes;
  if (anchors && neighbors) {
    data.anchors = vector_or_null(anchors, "anchors", anchors->size());
    data.n_anchors = anchors->size();
    require_shape(*neighbors, "neighbors", data.n_anchors, -1);
    data.neighbors = neighbors->data();
    data.m = neighbors->shape(1);
  }
  if (evaluation_rows) {
    data.evaluation_rows = vector_or_null(evaluation_rows, "evaluation_rows", evaluation_rows->size());
    data.n_evaluation = evaluation_rows->size();
  }
  const py::ssize_t n_bits = settings.network.n_bits;
  if (residual_weight && residual_bias) {
    require_shape(*residual_weight, "residual_weight", n_bits, data.d);
    data.residual_weight = residual_weight->data();
    data.residual_bias = vector_or_null(residual_bias, "residual_bias", n_bits);
  }
  learn::Outcome outcome;
  {
    // The arrays are arguments, so the caller keeps them alive; nobody else is promised not to write to them.
    py::gil_scoped_release release;
    outcome = learn::train(
        settings, data,
        [&](const EpochReport& report, const float* outputs) {
          return ask_python(on_epoch, report, outputs, data.n_evaluation, n_bits);
        },
        interrupted);
  }
  py::list layers;
  for (DenseLayer& layer : outcome.network.layers) layers.append(to_tuple(std::move(layer)));
  py::object residual = py::none();
  if (!outcome.network.residual.empty()) residual = to_tuple(std::move(outcome.network.residual.front()));
  py::dict result;
  result["layers"] = layers;
  result["residual"] = residual;
  result["best_epoch"] = outcome.best_epoch;
  result["epochs_done"] = outcome.epochs_done;
  result["interrupted"] = outcome.interrupted;
  result["stopped_early"] = outcome.stopped_early;
  return result;
}

}  // namespace

void register_learn_train(py::module_& m) {
  m.def("train", &train, py::arg("settings"), py::arg("inputs").noconvert(), py::arg("rows").noconvert(),
        py::arg("on_epoch"), py::kw_only(), py::arg("evaluation_rows").noconvert() = py::none(),
        py::arg("row_scale").noconvert() = py::none(), py::arg("row_bias").noconvert() = py::none(),
        py::arg("centre").noconvert() = py::none(), py::arg("gain").noconvert() = py::none(),
        py::arg("noise").noconvert() = py::none(), py::arg("labels").noconvert() = py::none(), py::arg("n_classes") = 0,
        py::arg("anchors").noconvert() = py::none(), py::arg("neighbors").noconvert() = py::none(),
        py::arg("residual_weight").noconvert() = py::none(), py::arg("residual_bias").noconvert() = py::none(),
        "Train a network; on_epoch(record, outputs) -> (metric or None, stop). See simskip/learn/trainer.hpp.");
}

}  // namespace simskip::bindings
