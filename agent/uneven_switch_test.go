package agent

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/track"
)

// uneven runs the belt as a busy machine sees it: up to most pictures are
// dropped before each one that is shown, and of what that one shows each model
// misses the share blind, one model other things than the other. The second
// loadout comes after so many pictures shown, with 0 never. It gives who judged
// each physical part.
func uneven(t *testing.T, seed uint64, most int, blind float64, first, second Loadout, after int) map[int][]string {
	t.Helper()
	b := newBelt(t, first, track.Stream)
	drops := rand.New(rand.NewPCG(seed, 1))
	lane := map[string]uint64{first.About.Name: 0, second.About.Name: 1}
	b.misses = func(name string, _ vision.Detection) bool {
		return rand.New(rand.NewPCG(seed<<1|lane[name], uint64(b.n))).Float64() < blind
	}
	var wait func() (Cut, error)
	for shown := 0; b.n < 260; shown++ {
		b.n += drops.IntN(most + 1)
		if shown == after && after > 0 {
			wait = b.change(t.Context(), second)
		}
		b.step()
	}
	if wait != nil {
		if _, err := wait(); err != nil {
			t.Fatal(err)
		}
	}
	who := map[int][]string{}
	for _, i := range b.finish() {
		n := b.physical(i)
		who[n] = append(who[n], i.Model.Name)
	}
	return who
}

// TestSwitchOverDroppedFrames: most frames are dropped, so that parts lie far
// from where the last frame showed them, which only who has followed them for
// long can tell. The switch changes nothing of who is a part.
func TestSwitchOverDroppedFrames(t *testing.T) {
	first, second := seeing(t, "first"), seeing(t, "second")
	for most := 2; most <= 4; most++ {
		for seed := range uint64(8) {
			want := uneven(t, seed, most, 0, first, second, 0)
			for after := 20; after <= 40; after += everyFrame(7) {
				got := uneven(t, seed, most, 0, first, second, after)
				for n := range 60 {
					if len(got[n]) != len(want[n]) {
						t.Errorf("seed %d, up to %d dropped, switch after %d: part %d is judged by %v, without a switch by %v", seed, most, after, n, got[n], want[n])
					}
				}
			}
		}
	}
}

// TestSwitchOverUnevenFrames: frames are dropped, and the models miss parts in
// different ones of the rest, so that they lose and find other parts. No part is
// told by both.
func TestSwitchOverUnevenFrames(t *testing.T) {
	first, second := seeing(t, "first"), seeing(t, "second")
	for most := 1; most <= 4; most++ {
		for seed := range uint64(8) {
			for after := 27; after <= 33; after += 6 {
				for n, who := range uneven(t, seed, most, 0.1, first, second, after) {
					if text := fmt.Sprint(who); text == "[first second]" || text == "[second first]" {
						t.Errorf("seed %d, up to %d dropped, switch after %d: part %d is judged by %v", seed, most, after, n, who)
					}
				}
			}
		}
	}
}
