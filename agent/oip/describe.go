package oip

import (
	"fmt"
	"io"
	"net/http"
)

// platform is what Triton calls models that ONNX Runtime runs.
const platform = "onnxruntime_onnx"

// extensions are Triton's names of what there is beyond the protocol's core.
var extensions = []string{"binary_tensor_data", "model_configuration", "schedule_policy", "statistics"}

func (h *Handler) server(w http.ResponseWriter, _ *http.Request) error {
	return say(w, struct {
		Name       string   `json:"name"`
		Version    string   `json:"version"`
		Extensions []string `json:"extensions"`
	}{"sightline", h.cfg.Version, extensions})
}

// ready answers 200 when every model can run.
func (h *Handler) ready(http.ResponseWriter, *http.Request) error {
	for _, m := range h.cfg.Models() {
		if _, err := m.learn(); err != nil {
			return err
		}
	}
	return nil
}

func (h *Handler) modelReady(_ http.ResponseWriter, r *http.Request) error {
	m, err := h.find(r)
	if err == nil {
		_, err = m.learn()
	}
	return err
}

func (h *Handler) metadata(w http.ResponseWriter, r *http.Request) error {
	m, err := h.find(r)
	if err != nil {
		return err
	}
	out := Metadata{Name: m.Name, Platform: platform, Inputs: m.inputs, Outputs: m.outputs, Properties: m.properties()}
	for _, other := range h.cfg.Models() {
		if other.Name == m.Name {
			out.Versions = append(out.Versions, other.Version)
		}
	}
	return say(w, out)
}

// properties are the model's own, and what computes it.
func (m *served) properties() map[string]string {
	all := map[string]string{"digest": m.info.Digest, "provider": m.info.Provider, "runtime": "onnxruntime " + m.info.Runtime}
	for key, value := range m.Properties {
		all[key] = value
	}
	return all
}

// modelConfiguration is what Triton's clients read of a model's configuration.
type modelConfiguration struct {
	Name          string              `json:"name"`
	Platform      string              `json:"platform"`
	Backend       string              `json:"backend"`
	VersionPolicy versionPolicy       `json:"version_policy"`
	MaxBatchSize  int                 `json:"max_batch_size"`
	Input         []tensorConfig      `json:"input"`
	Output        []tensorConfig      `json:"output"`
	InstanceGroup []instanceGroup     `json:"instance_group"`
	Parameters    map[string]property `json:"parameters"`
}

type versionPolicy struct {
	Latest struct {
		NumVersions int `json:"num_versions"`
	} `json:"latest"`
}

type tensorConfig struct {
	Name     string  `json:"name"`
	DataType string  `json:"data_type"`
	Dims     []int64 `json:"dims"`
}

type instanceGroup struct {
	Name  string `json:"name"`
	Kind  string `json:"kind"`
	Count int    `json:"count"`
}

type property struct {
	Value string `json:"string_value"`
}

func (h *Handler) modelConfig(w http.ResponseWriter, r *http.Request) error {
	m, err := h.find(r)
	if err != nil {
		return err
	}
	kind := "KIND_CPU"
	if m.info.Provider != "cpu" {
		kind = "KIND_GPU"
	}
	out := modelConfiguration{
		Name: m.Name, Platform: platform, Backend: "onnxruntime", Input: configOf(m.inputs), Output: configOf(m.outputs),
		InstanceGroup: []instanceGroup{{Name: m.Name, Kind: kind, Count: 1}}, Parameters: map[string]property{},
	}
	out.VersionPolicy.Latest.NumVersions = 1
	for key, value := range m.properties() {
		out.Parameters[key] = property{value}
	}
	return say(w, out)
}

func configOf(list []TensorMetadata) []tensorConfig {
	out := []tensorConfig{}
	for _, t := range list {
		kind := "TYPE_" + t.Datatype
		if t.Datatype == bytesType {
			kind = "TYPE_STRING"
		}
		out = append(out, tensorConfig{Name: t.Name, DataType: kind, Dims: t.Shape})
	}
	return out
}

type indexEntry struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	State   string `json:"state"`
	Reason  string `json:"reason"`
}

// index lists the models, or with {"ready": true} in the body those that can run.
func (h *Handler) index(w http.ResponseWriter, r *http.Request) error {
	var want struct {
		Ready bool `json:"ready"`
	}
	text, err := io.ReadAll(io.LimitReader(r.Body, maxHeader))
	if err != nil {
		return unreadable(err)
	}
	if len(text) > 0 {
		if err := decodeJSON(text, &want); err != nil {
			return bad("the request's JSON: %w", err)
		}
	}
	out := []indexEntry{}
	for _, m := range h.cfg.Models() {
		e := indexEntry{Name: m.Name, Version: m.Version, State: "READY"}
		if _, err := m.learn(); err != nil {
			e.State, e.Reason = "UNAVAILABLE", fmt.Sprint(err)
		}
		if e.State == "READY" || !want.Ready {
			out = append(out, e)
		}
	}
	return say(w, out)
}
