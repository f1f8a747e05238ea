package track

import (
	"slices"

	"github.com/sightline-edge/sightline/vision"
)

// IDs are those of all open tracks, also of those that don't count as parts yet.
func (t *Tracker) IDs() []string {
	ids := make([]string, len(t.tracks))
	for n, tr := range t.tracks {
		ids[n] = tr.id
	}
	return ids
}

// Confirmed tells whether a track is still open, and whether enough frames have
// shown it to count as a part.
func (t *Tracker) Confirmed(id string) (confirmed, open bool) {
	n := slices.IndexFunc(t.tracks, func(tr *track) bool { return tr.id == id })
	return n >= 0 && t.tracks[n].hits >= t.cfg.Confirm, n >= 0
}

// Adopt makes a new tracker follow what another one follows, from the next frame
// on, and gives the ID here of each track there. How the parts move is taken
// over, what was seen of them isn't: an adopted part counts once enough frames
// have shown it here.
func (t *Tracker) Adopt(other *Tracker) map[string]string {
	ids := map[string]string{}
	t.last, t.began, t.belt = other.last, other.began, other.belt
	for _, tr := range other.tracks {
		t.next++
		n := &track{
			id: t.name(t.next), cx: tr.cx, cy: tr.cy, w: tr.w, h: tr.h, v: tr.v, dt: tr.dt,
			seen: tr.seen, shown: tr.shown, lent: tr.moves(), missing: tr.missing,
			name: tr.name, first: tr.first, firstTime: tr.firstTime, lastTime: tr.lastTime, labels: map[string]float32{},
		}
		for l := range tr.labels {
			n.labels[l] = 0
		}
		t.tracks = append(t.tracks, n)
		ids[tr.id] = n.id
	}
	return ids
}

// Pair finds which tracks of another tracker over the same frames follow the
// same parts as this one's: for each track that the other saw in the frame with
// this Seq, the track here, both by ID. Each track is in one pair at most.
// Boxes in the frame itself come first; what is left over may be a part that
// isn't seen here now, where it would have been taken for that.
func (t *Tracker) Pair(other *Tracker, seq uint64) map[string]string {
	pairs := map[string]string{}
	shown, hidden := part(t.tracks, func(tr *track) bool { return tr.seen == seq })
	theirs, _ := part(other.tracks, func(tr *track) bool { return tr.seen == seq })
	match := func(mine []*track, cost func(mine, other *track) float64) {
		rows := assign(len(mine), len(theirs), never, func(i, j int) float64 { return cost(mine[i], theirs[j]) })
		var rest []*track
		for j, i := range rows {
			if i < 0 {
				rest = append(rest, theirs[j])
				continue
			}
			pairs[theirs[j].id] = mine[i].id
		}
		theirs = rest
	}
	match(shown, func(mine, other *track) float64 {
		if !sameThing(mine.shown, other.shown) {
			return never
		}
		return 1 - float64(mine.shown.IoU(other.shown))
	})
	match(hidden, func(mine, other *track) float64 {
		return mine.cost(vision.Detection{Label: other.label(), Box: other.shown}, t.belt)
	})
	return pairs
}

// part separates tracks.
func part(tracks []*track, first func(*track) bool) (yes, no []*track) {
	for _, tr := range tracks {
		if first(tr) {
			yes = append(yes, tr)
		} else {
			no = append(no, tr)
		}
	}
	return yes, no
}
