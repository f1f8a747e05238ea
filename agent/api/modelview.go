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

// starts says how often the process was started after the first.
func (m *ModelUse) starts() string {
	var all []string
	for _, c := range []struct {
		n    uint64
		what string
	}{{m.Restarts, "after it ended"}, {m.Recycles.Leak, "for its leak"}, {m.Recycles.Cap, "for its memory"}} {
		if c.n > 0 {
			all = append(all, fmt.Sprintf("%d× %s", c.n, c.what))
		}
	}
	if all == nil {
		return ""
	}
	return "again " + strings.Join(all, ", ")
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
	memory := "of " + size(uint64(max(m.Cap, 0)))
	if l := m.Leak; l != nil {
		memory += fmt.Sprintf(", leaks %s an hour", size(uint64(max(l.PerHour, 0))))
	}
	row("Memory", size(uint64(max(m.Memory, 0))), memory)
	row("Process", fmt.Sprintf("started in %s ms", milliseconds(m.Start)), m.starts())
	return v
}
