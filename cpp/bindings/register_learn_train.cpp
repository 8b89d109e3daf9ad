#include <pybind11/stl.h>

#include <algorithm>
#include <optional>
#include <string>
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

// An array of a tower by name, or null: at most `length` entries are promised to be read.
const float* floats_or_null(const py::dict& tower, const char* name, py::ssize_t length) {
  if (!tower.contains(name) || tower[name].is_none()) return nullptr;
  const py::object value = tower[name];
  if (!Array<float>::check_(value)) throw py::value_error(std::string(name) + " must be contiguous float32");
  const auto array = py::reinterpret_borrow<Array<float>>(value);
  if (array.size() != length) throw py::value_error(std::string(name) + " has the wrong size");
  return array.data();
}

// (weight, bias) arrays of every layer become a network of their own.
learn::DenseLayer layer_of(const py::handle& pair) {
  const auto [weight, bias] = py::cast<std::pair<Array<float>, Array<float>>>(pair);
  require_shape(weight, "weight", -1, -1);
  require_length(bias, "bias", weight.shape(0));
  return {weight.shape(1),
          weight.shape(0),
          {weight.data(), weight.data() + weight.size()},
          {bias.data(), bias.data() + bias.size()}};
}

learn::DenseNetwork network_of(const py::dict& start) {
  learn::DenseNetwork network;
  for (const py::handle& pair : start["layers"]) network.layers.push_back(layer_of(pair));
  if (!start["residual"].is_none()) network.residual.push_back(layer_of(start["residual"]));
  return network;
}

learn::Tower tower_of(const py::dict& given, py::ssize_t n_bits) {
  learn::Tower tower;
  const auto inputs = py::cast<py::array>(given["inputs"]);
  tower.half = inputs.dtype().kind() == 'f' && inputs.itemsize() == 2;
  if (inputs.ndim() != 2 || !(inputs.flags() & py::array::c_style) || inputs.dtype().kind() != 'f' ||
      (inputs.itemsize() != 2 && inputs.itemsize() != 4))
    throw py::value_error("inputs must be a contiguous matrix of float32 or float16");
  tower.inputs = inputs.data();
  tower.n = inputs.shape(0);
  tower.d = inputs.shape(1);
  tower.row_scale = floats_or_null(given, "row_scale", tower.n);
  tower.centre = floats_or_null(given, "centre", tower.d);
  tower.gain = floats_or_null(given, "gain", tower.d);
  tower.noise = floats_or_null(given, "noise", tower.d);
  tower.residual_weight = floats_or_null(given, "residual_weight", n_bits * tower.d);
  tower.residual_bias = floats_or_null(given, "residual_bias", n_bits);
  return tower;
}

py::dict to_dict(const learn::Checkpoint& checkpoint) {
  py::dict result;
  result["epoch"] = checkpoint.epoch;
  result["best_epoch"] = checkpoint.best_epoch;
  result["best"] = checkpoint.best;
  py::list tensors;
  for (const auto& tensor : checkpoint.tensors) tensors.append(to_array(std::vector<float>(tensor)));
  result["tensors"] = tensors;
  return result;
}

learn::Checkpoint checkpoint_of(const py::dict& given) {
  learn::Checkpoint checkpoint;
  checkpoint.epoch = py::cast<std::int64_t>(given["epoch"]);
  checkpoint.best_epoch = py::cast<std::int64_t>(given["best_epoch"]);
  checkpoint.best = py::cast<std::optional<double>>(given["best"]);
  for (const py::handle& item : given["tensors"]) {
    const auto tensor = py::cast<Array<float>>(item);
    checkpoint.tensors.emplace_back(tensor.data(), tensor.data() + tensor.size());
  }
  return checkpoint;
}

learn::CustomLoss custom_loss_of(const py::function& loss) {
  return [loss](const float* u, const std::int32_t* rows, std::int64_t n, std::int64_t width, double progress,
                float* gradient) {
    py::gil_scoped_acquire gil;
    const py::array_t<float> outputs({static_cast<py::ssize_t>(n), static_cast<py::ssize_t>(width)}, u);
    const py::array_t<std::int32_t> numbers(static_cast<py::ssize_t>(n), rows);
    const auto [value, slope] = py::cast<std::pair<double, Array<float>>>(loss(outputs, numbers, progress));
    require_shape(slope, "the gradient of the custom objective", n, width);
    std::copy_n(slope.data(), slope.size(), gradient);
    return value;
  };
}

py::dict to_dict(learn::Outcome&& outcome) {
  py::list networks;
  for (learn::DenseNetwork& network : outcome.networks) {
    py::list layers;
    for (DenseLayer& layer : network.layers) layers.append(to_tuple(std::move(layer)));
    py::object residual = py::none();
    if (!network.residual.empty()) residual = to_tuple(std::move(network.residual.front()));
    networks.append(py::make_tuple(layers, residual));
  }
  py::list centres;
  for (auto& centre : outcome.centres) centres.append(to_array(std::move(centre)));
  py::dict result;
  result["networks"] = networks;
  result["centres"] = centres;
  result["best_epoch"] = outcome.best_epoch;
  result["epochs_done"] = outcome.epochs_done;
  result["interrupted"] = outcome.interrupted;
  result["stopped_early"] = outcome.stopped_early;
  return result;
}

py::dict train(const learn::Settings& settings, const std::vector<py::dict>& towers, const Array<std::int32_t>& rows,
               const py::function& on_epoch, const Rows& evaluation_rows, const Floats& row_bias, const Rows& labels,
               const Floats& targets, std::int64_t n_classes, const Rows& anchors, const Rows& neighbors,
               const std::optional<py::function>& custom_loss, const std::optional<py::function>& on_checkpoint,
               const std::optional<py::dict>& resume) {
  learn::TrainingSet data;
  const py::ssize_t n_bits = settings.network.n_bits;
  std::vector<learn::DenseNetwork> starts(towers.size());
  for (std::size_t t = 0; t < towers.size(); ++t) {
    data.towers.push_back(tower_of(towers[t], n_bits));
    if (!towers[t].contains("start") || towers[t]["start"].is_none()) continue;
    starts[t] = network_of(towers[t]["start"]);
    data.towers[t].start = &starts[t];
  }
  if (towers.empty()) throw py::value_error("towers must hold at least one");
  const std::int64_t n = data.towers.front().n;
  require_length(rows, "rows", rows.size());
  data.rows = rows.data();
  data.n_rows = rows.size();
  data.row_bias = vector_or_null(row_bias, "row_bias", n);
  data.labels = vector_or_null(labels, "labels", n);
  data.n_classes = n_classes;
  if (targets) {
    require_shape(*targets, "targets", n, n_classes);
    data.targets = targets->data();
  }
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
  const py::ssize_t n_outputs = static_cast<py::ssize_t>(towers.size()) * data.n_evaluation;
  learn::Hooks hooks;
  hooks.interrupted = interrupted;
  hooks.on_epoch = [&](const EpochReport& report, const float* outputs) {
    return ask_python(on_epoch, report, outputs, n_outputs, n_bits);
  };
  if (custom_loss) hooks.custom_loss = custom_loss_of(*custom_loss);
  if (on_checkpoint)
    hooks.on_checkpoint = [&](const learn::Checkpoint& checkpoint) {
      py::gil_scoped_acquire gil;
      (*on_checkpoint)(to_dict(checkpoint));
    };
  std::optional<learn::Checkpoint> from;
  if (resume) from = checkpoint_of(*resume);
  learn::Outcome outcome;
  {
    // The arrays are arguments, so the caller keeps them alive; nobody else is promised not to write to them.
    py::gil_scoped_release release;
    outcome = learn::train(settings, data, hooks, from ? &*from : nullptr);
  }
  return to_dict(std::move(outcome));
}

}  // namespace

void register_learn_train(py::module_& m) {
  m.def("train", &train, py::arg("settings"), py::arg("towers"), py::arg("rows").noconvert(), py::arg("on_epoch"),
        py::kw_only(), py::arg("evaluation_rows").noconvert() = py::none(),
        py::arg("row_bias").noconvert() = py::none(), py::arg("labels").noconvert() = py::none(),
        py::arg("targets").noconvert() = py::none(), py::arg("n_classes") = 0,
        py::arg("anchors").noconvert() = py::none(), py::arg("neighbors").noconvert() = py::none(),
        py::arg("custom_loss") = py::none(), py::arg("on_checkpoint") = py::none(), py::arg("resume") = py::none(),
        "Train networks; on_epoch(record, outputs) -> (metric or None, stop). See simskip/learn/trainer.hpp.");
}

}  // namespace simskip::bindings
