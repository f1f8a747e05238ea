package track

import (
	"slices"

	"github.com/sightline-edge/sightline/vision"
)

// IDs are those of all tracks that are followed, also of those that don't count
// as parts yet, and of those that were decided.
func (t *Tracker) IDs() []string {
	ids := make([]string, len(t.tracks))
	for n, tr := range t.tracks {
		ids[n] = tr.id
	}
	return ids
}

// Confirmed tells whether enough frames have shown a track to count as a part,
// and whether it is still open. A part that was decided and is followed on is
// confirmed and not open: Update and Flush won't return it again.
func (t *Tracker) Confirmed(id string) (confirmed, open bool) {
	n := slices.IndexFunc(t.tracks, func(tr *track) bool { return tr.id == id })
	if n < 0 {
		return false, false
	}
	tr := t.tracks[n]
	return tr.told != nil || tr.hits >= t.cfg.Confirm, tr.told == nil
}

// Adopt makes a new tracker follow what another one follows, from the next frame
// on, and gives the ID here of each track there. How the parts move is taken
// over, and how the camera's pictures come; what was seen of them isn't: an adopted part counts once enough frames
// have shown it here. One that was decided there is decided here too.
func (t *Tracker) Adopt(other *Tracker) map[string]string {
	ids := map[string]string{}
	t.last, t.began, t.belt, t.beltSeen = other.last, other.began, other.belt, other.beltSeen
	t.pace, t.jumps, t.seq = other.pace, other.jumps, other.seq
	for _, tr := range other.tracks {
		n := tr.adopted(t)
		t.tracks = append(t.tracks, n)
		ids[tr.id] = n.id
	}
	for _, tr := range other.away {
		t.away = append(t.away, tr.adopted(t))
	}
	return ids
}

// adopted is a track for another tracker.
func (t *track) adopted(by *Tracker) *track {
	by.next++
	n := &track{
		id: by.name(by.next), cx: t.cx, cy: t.cy, w: t.w, h: t.h, v: t.v, dt: t.dt,
		seen: t.seen, shown: t.shown, lent: t.moves(), missing: t.missing, born: t.born,
		name: t.name, first: t.first, firstTime: t.firstTime, lastTime: t.lastTime, labels: map[string]float32{},
	}
	for l := range t.labels {
		n.labels[l] = 0
	}
	if t.told != nil {
		told := *t.told
		told.ID = n.id
		n.told, n.left = &told, t.left
	}
	return n
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
