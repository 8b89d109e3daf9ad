#include <pybind11/stl.h>

#include "register_learn.hpp"
#include "simskip/learn/objectives.hpp"
#include "simskip/learn/settings.hpp"
#include "simskip/learn/trainer.hpp"

namespace simskip::bindings {
namespace {

const char* name_of(learn::Supervision supervision) {
  switch (supervision) {
    case learn::Supervision::none:
      return "none";
    case learn::Supervision::neighbors:
      return "neighbors";
    case learn::Supervision::labels:
      return "labels";
    case learn::Supervision::targets:
      return "targets";
  }
  return "";
}

}  // namespace

void register_learn_settings(pybind11::module_& m) {
  namespace py = pybind11;
  using learn::NetworkSettings;
  using learn::ObjectiveInfo;
  using learn::Settings;

  py::class_<NetworkSettings>(m, "NetworkSettings", "How the network is built.")
      .def(py::init<>())
      .def_readwrite("n_bits", &NetworkSettings::n_bits)
      .def_readwrite("hidden", &NetworkSettings::hidden)
      .def_readwrite("activation", &NetworkSettings::activation)
      .def_readwrite("dropout", &NetworkSettings::dropout)
      .def_readwrite("input_dropout", &NetworkSettings::input_dropout)
      .def_readwrite("batch_norm", &NetworkSettings::batch_norm)
      .def_readwrite("output", &NetworkSettings::output);

  py::class_<Settings>(m, "Settings", "How it is trained; assign to `network` as a whole.")
      .def(py::init<>())
      .def_readwrite("network", &Settings::network)
      .def_readwrite("objective", &Settings::objective)
      .def_readwrite("objective_options", &Settings::objective_options)
      .def_readwrite("epochs", &Settings::epochs)
      .def_readwrite("steps_per_epoch", &Settings::steps_per_epoch)
      .def_readwrite("batch_size", &Settings::batch_size)
      .def_readwrite("anchors", &Settings::anchors)
      .def_readwrite("neighbors_per_anchor", &Settings::neighbors_per_anchor)
      .def_readwrite("rows_per_class", &Settings::rows_per_class)
      .def_readwrite("prefixes", &Settings::prefixes)
      .def_readwrite("optimizer", &Settings::optimizer)
      .def_readwrite("schedule", &Settings::schedule)
      .def_readwrite("learning_rate", &Settings::learning_rate)
      .def_readwrite("weight_decay", &Settings::weight_decay)
      .def_readwrite("patience", &Settings::patience)
      .def_readwrite("seed", &Settings::seed)
      .def_readwrite("threads", &Settings::threads);

  py::class_<ObjectiveInfo>(m, "ObjectiveInfo", "What an objective is, and its options with their defaults.")
      .def_readonly("name", &ObjectiveInfo::name)
      .def_readonly("formula", &ObjectiveInfo::formula)
      .def_readonly("source", &ObjectiveInfo::source)
      .def_property_readonly("supervision", [](const ObjectiveInfo& info) { return name_of(info.supervision); })
      .def_readonly("towers", &ObjectiveInfo::towers)
      .def_readonly("options", &ObjectiveInfo::options);

  m.def("objectives", &learn::objectives, "All objectives.");
  m.def("torch_version", &learn::torch_version, "The torch release this module was compiled against.");
}

}  // namespace simskip::bindings
