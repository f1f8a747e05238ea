package api

import (
	"fmt"

	"github.com/sightline-edge/sightline/internal/web"
)

// swapView is a swap as a page shows it.
type swapView struct {
	Mark, Words string
	On          bool // it isn't over
}

// view is nil for none.
func (s *Swap) view() *swapView {
	if s == nil {
		return nil
	}
	mark := "wait"
	switch s.Phase {
	case SwapDone:
		mark = "pass"
	case SwapRefused:
		mark = "bad"
	case SwapCancelled:
		mark = "info"
	}
	words := s.Words() + "." // it begins with a model's name
	if s.Phase == SwapDone && s.Text != "" {
		mark, words = "warn", words+" "+web.Sentence(s.Text)+"."
	}
	return &swapView{mark, words, !s.Phase.Over()}
}

// Words say for people how far a swap is, or how it went. Why a model that was swapped
// in isn't kept is Text's to say.
func (s *Swap) Words() string {
	what := s.Model
	if s.Name != "" {
		what = named(s.Name, s.Version)
	}
	took := fmt.Sprintf("%.1f s", s.TookMS/1000)
	switch s.Phase {
	case SwapWaiting:
		return fmt.Sprintf("%s waits until another model is loaded and proved; asked for %s ago", what, took)
	case SwapLoading, SwapProving:
		if s.Building != nil {
			return fmt.Sprintf("%s isn't loaded yet: %s", what, s.Building.Text)
		}
		if s.Phase == SwapLoading {
			return fmt.Sprintf("%s is being loaded, for %s", what, took)
		}
		return fmt.Sprintf("%s runs its golden pictures; asked for %s ago", what, took)
	case SwapSwitching:
		return fmt.Sprintf("%s takes over when the parts that are in view have left", what)
	case SwapDone:
		return fmt.Sprintf("%s was swapped in after %s%s; its results have numbers above %d", what, took, s.proof(), s.After)
	case SwapCancelled:
		return fmt.Sprintf("%s was not swapped in: %s", what, s.Text)
	}
	return fmt.Sprintf("%s was refused: %s", what, s.Text)
}

// proof says how the golden pictures went.
func (s *Swap) proof() string {
	if s.Gate == nil {
		return ", without golden pictures"
	}
	text := fmt.Sprintf(", %d of %d golden pictures passed", s.Gate.Passed, s.Gate.Pictures)
	if s.Gate.Unmeasured != "" {
		text += " (no proof: " + s.Gate.Unmeasured + ")"
	}
	return text
}
