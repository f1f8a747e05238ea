package wire

import (
	"fmt"
	"unicode/utf8"

	"github.com/sightline-edge/sightline/vision"
)

// Limits of what a result says about its trigger and its views. NewResult
// keeps to them, and the fleet takes nothing beyond.
const (
	MaxViews = 16
	MaxName  = 200 // bytes of a trigger's ID, a recipe or a view's camera
)

// Name is a trigger's ID, a recipe or a view's camera as a record may hold
// it: mended, and cut to MaxName bytes between two runes.
func Name(s string) string {
	s = mend(s)
	if len(s) <= MaxName {
		return s
	}
	end := MaxName
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}

// newViews are the part's views; what is beyond MaxViews is left out.
func newViews(list []vision.View) []*View {
	var all []*View
	for i := range list[:min(len(list), MaxViews)] {
		v := &list[i]
		all = append(all, &View{Camera: Name(v.Camera), Seq: v.Seq, Captured: nanos(v.Captured), Width: count(v.Width), Height: count(v.Height)})
	}
	return all
}

// visionViews undoes newViews.
func visionViews(list []*View) []vision.View {
	var all []vision.View
	for _, v := range list {
		all = append(all, vision.View{
			Camera: v.GetCamera(), Seq: v.GetSeq(), Captured: Time(v.GetCaptured()), Width: pixels(v.GetWidth()), Height: pixels(v.GetHeight()),
		})
	}
	return all
}

// pixels is a size off the wire, which may be any.
func pixels(n uint32) int { return int(n & (1<<31 - 1)) }

// viewIn is an index among so many views, 0 for one that isn't among them.
func viewIn(index, views int) int {
	if index < 0 || index >= views {
		return 0
	}
	return index
}

// checkViews refuses a result that says more about its trigger and views than
// NewResult would, or whose evidence names a view that isn't there.
func (r *Result) checkViews() error {
	names := []struct{ what, text string }{{"trigger's ID", r.GetTriggerId()}, {"recipe", r.GetRecipe()}}
	for _, v := range r.GetViews() {
		names = append(names, struct{ what, text string }{"view's camera", v.GetCamera()})
	}
	for _, n := range names {
		if len(n.text) > MaxName {
			return fmt.Errorf("its %s has %d bytes, the fleet takes %d", n.what, len(n.text), MaxName)
		}
	}
	for _, e := range r.GetEvidence() {
		if n := e.GetView(); n > 0 && int64(n) >= int64(len(r.GetViews())) {
			return fmt.Errorf("evidence names view %d of %d, counted from 0", n, len(r.GetViews()))
		}
	}
	return nil
}
