package bundle

import (
	"errors"
	"fmt"
	"math"
)

// Limits of what a golden file tells of its measurement.
const (
	maxWays    = 64 // thread counts, levels, spreads
	maxLeft    = 2048
	maxMargin  = 1000
	maxThreads = 1024
)

// Measured is how far the answers about a bundle's pictures moved when they were
// computed otherwise, from which its tolerances come.
type Measured struct {
	Threads []int    `json:"threads"` // per operator, that were tried
	Graph   []string `json:"graph"`   // levels of graph optimisation that were tried
	Margin  float32  `json:"margin"`  // a tolerance is so many times the spread, or its least
	ByHand  []string `json:"by_hand,omitempty"`
	Left    string   `json:"left,omitempty"` // what couldn't be measured, and why
	Spreads []Spread `json:"spreads"`
}

// Spread is how far answers moved with one provider and precision, and what
// devices with these may differ by.
type Spread struct {
	Provider  string      `json:"provider"`
	Precision string      `json:"precision"`
	Processor string      `json:"processor,omitempty"` // the machine's, as Go calls it (amd64, arm64); "" for any
	Emulated  bool        `json:"emulated,omitempty"`  // the precision, by rounding on a provider of another
	Score     float32     `json:"score"`               // the largest distance of a score
	IoU       float32     `json:"iou"`                 // the least overlap of a detection's box
	Raw       []RawSpread `json:"raw,omitempty"`
	Tolerance Tolerance   `json:"tolerance"`
}

// RawSpread is how far the values of one output moved, relative to the largest
// recorded value of that output in all pictures; so is its tolerance.
type RawSpread struct {
	Name      string  `json:"name"`
	Spread    float32 `json:"spread"`
	Tolerance float32 `json:"tolerance"`
}

// Within gives what a device that computes so may differ by, and the measurement
// that says so; without one it is the tolerance for all, and nil.
func (g *Golden) Within(provider, precision, processor string) (Tolerance, *Spread) {
	if g.Measured == nil {
		return g.Tolerance, nil
	}
	for i := range g.Measured.Spreads {
		if s := &g.Measured.Spreads[i]; s.of(provider, precision) && (s.Processor == "" || s.Processor == processor) {
			return s.Tolerance, s
		}
	}
	return g.Tolerance, nil
}

// of tells whether it was measured with these.
func (s *Spread) of(provider, precision string) bool {
	return s.Provider == provider && s.Precision == precision && !s.Emulated
}

// Unmeasured says in how far nobody measured what a device that computes so may
// differ by; "" where it was measured.
func (g *Golden) Unmeasured(provider, precision, processor string) string {
	if g.Measured == nil {
		return fmt.Sprintf("how far %s %s moves was never measured for this bundle: its tolerances were chosen by hand", provider, precision)
	}
	if _, s := g.Within(provider, precision, processor); s != nil {
		return ""
	}
	for _, s := range g.Measured.Spreads {
		if s.of(provider, precision) {
			return fmt.Sprintf("how far %s %s moves was measured on %s for this bundle, and never on %s", provider, precision, s.Processor, processor)
		}
		if s.Precision == precision && s.Emulated {
			return fmt.Sprintf("%s was emulated on %s for this bundle, and %s was never measured", precision, s.Provider, provider)
		}
	}
	return fmt.Sprintf("how far %s %s moves was never measured for this bundle", provider, precision)
}

// Lines say for people what was measured, and the tolerances that come of it. Of no
// measurement they say that.
func (m *Measured) Lines() []string {
	if m == nil {
		return []string{"unmeasured: the tolerances were chosen by hand"}
	}
	var lines []string
	for _, s := range m.Spreads {
		how := ""
		if s.Emulated {
			how = " emulated"
		}
		lines = append(lines, fmt.Sprintf("%s %s%s: scores moved by %.2g, boxes overlapped by %.4f; tolerances: score %.2g, overlap %.3f, raw %.2g",
			s.Provider, s.Precision, how, s.Score, s.IoU, s.Tolerance.Score, s.Tolerance.IoU, s.Tolerance.Raw))
	}
	if m.Left != "" {
		lines = append(lines, "not measured: "+m.Left)
	}
	return lines
}

// check says all that is wrong.
func (m *Measured) check() []error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf("measured."+format, args...)) }
	if len(m.Threads) > maxWays || len(m.Graph) > maxWays || len(m.Spreads) > maxWays || len(m.ByHand) > maxWays {
		return []error{fmt.Errorf("measured: more than %d thread counts, levels or spreads", maxWays)}
	}
	for _, n := range m.Threads {
		if n < 1 || n > maxThreads {
			fault("threads: %d is outside 1 to %d", n, maxThreads)
		}
	}
	for _, text := range append(append([]string{}, m.Graph...), m.ByHand...) {
		if text == "" || !plainText(text) {
			fault("graph and by_hand: %.40q must be printable", text)
		}
	}
	if !(m.Margin >= 1 && m.Margin <= maxMargin) {
		fault("margin: %v is outside 1 to %d", m.Margin, maxMargin)
	}
	if !printableText(m.Left, maxLeft) {
		fault("left: %.40q must have at most %d printable bytes", m.Left, maxLeft)
	}
	for i := range m.Spreads {
		if err := errors.Join(m.Spreads[i].check()...); err != nil {
			fault("spreads[%d]: %w", i, err)
		}
	}
	return faults
}

func (s *Spread) check() []error {
	faults := s.Tolerance.check()
	if s.Provider == "" || !plainText(s.Provider) || s.Precision == "" || !plainText(s.Precision) || !plainText(s.Processor) {
		faults = append(faults, fmt.Errorf("provider, precision and processor: %.40q, %.40q must be given, %.40q printable", s.Provider, s.Precision, s.Processor))
	}
	if !(s.Score >= 0 && s.Score <= 1) || !(s.IoU >= 0 && s.IoU <= 1) {
		faults = append(faults, fmt.Errorf("score and iou: %v, %v are outside 0 to 1", s.Score, s.IoU))
	}
	if len(s.Raw) > MaxRawOutputs {
		faults = append(faults, fmt.Errorf("raw: %d outputs, at most %d are possible", len(s.Raw), MaxRawOutputs))
	}
	for _, r := range s.Raw {
		spread := float64(r.Spread)
		if !plainText(r.Name) || !(spread >= 0) || math.IsInf(spread, 0) || !(r.Tolerance >= 0 && r.Tolerance <= maxRawTolerance) {
			faults = append(faults, fmt.Errorf("raw: output %.40q moves by %v within %v, want 0 or more, within at most %v", r.Name, r.Spread, r.Tolerance, maxRawTolerance))
		}
	}
	return faults
}
