package api

import (
	"fmt"
	"strings"

	"github.com/sightline-edge/sightline/internal/web"
)

// modelView is what a page shows of the model that a station inspects with.
type modelView struct {
	Name string
	Rows []lineRow
}

// viewModel is nil while the station has no model that was loaded.
func viewModel(n *Now, s *Station) *modelView {
	for i := range n.Models {
		if m := &n.Models[i]; m.Digest == s.Model.Digest && m.Name == s.Model.Name && m.Provider != "" {
			return m.view()
		}
	}
	return nil
}

// providerText is what computes, as people write it.
func providerText(provider string) string {
	switch provider {
	case "tensorrt":
		return "TensorRT"
	}
	return strings.ToUpper(provider)
}

func (m *ModelUse) view() *modelView {
	v := &modelView{Name: m.Name}
	if m.Version != "" {
		v.Name += " " + m.Version
	}
	row := func(name, value, more string) {
		v.Rows = append(v.Rows, lineRow{name, value, more})
	}
	row("Computes", strings.TrimSpace(providerText(m.Provider)+" "+m.Precision), "ONNX Runtime "+m.Runtime)
	if m.Requests > 0 {
		failed := "none failed"
		if n := m.Failures.Total(); n > 0 {
			failed = web.Count(int(n)) + " failed"
		}
		row("Pictures", web.Count(int(m.Requests)), failed)
	}
	if s := m.Stages; s.Run.Count > 0 {
		row("Takes", milliseconds(s.Run.P99)+" ms", fmt.Sprintf("99 of 100; waits %s, tensor %s, decoding %s", milliseconds(s.Wait.P99), milliseconds(s.Pre.P99), milliseconds(s.Decode.P99)))
	}
	row("Process", size(uint64(max(m.Memory, 0))), fmt.Sprintf("started in %s ms, again %d×", milliseconds(m.Start), m.Restarts))
	return v
}
