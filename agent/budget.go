package agent

import (
	"maps"
	"sync"
	"time"

	"github.com/sightline-edge/sightline/agent/api"
)

// budgetParts is over how many of a station's newest parts the cost of its large model
// is averaged. Parts that haven't come yet count as free, so that the first ones in
// doubt don't wait for a hundred others.
const budgetParts = 100

// budget is what the large model has cost a station, and how often it was asked. It is
// safe for concurrent use.
type budget struct {
	mu     sync.Mutex // protects all below
	newest [budgetParts]time.Duration
	next   int
	sum    time.Duration

	parts  uint64
	cost   time.Duration     // of all parts; it never falls
	looks  map[string]uint64 // by why
	missed map[string]uint64 // by the reason
}

// part counts a part that may be in doubt.
func (b *budget) part() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.parts++
	b.next = (b.next + 1) % budgetParts
	b.sum -= b.newest[b.next]
	b.newest[b.next] = 0
}

// spend takes what a look is likely to cost out of the budget of so much a part; false
// where that isn't left. A budget of 0 has no end.
func (b *budget) spend(likely, each time.Duration) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if each > 0 && b.sum+likely > budgetParts*each {
		return false
	}
	b.addLocked(likely)
	return true
}

// settle puts what the look really took in the place of what was likely.
func (b *budget) settle(likely, took time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.addLocked(took - likely)
	b.cost += took
}

// addLocked counts for the newest part: by the end of a look that may be a later one
// than it was taken for.
func (b *budget) addLocked(d time.Duration) {
	b.newest[b.next] += d
	b.sum += d
}

// count notes a look that was asked for.
func (b *budget) count(l *Look) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.looks == nil {
		b.looks, b.missed = map[string]uint64{}, map[string]uint64{}
	}
	if l.Missed != "" {
		b.missed[l.Missed]++
		return
	}
	b.looks[l.Why]++
}

// CascadeStats count what became of a station's parts in doubt, since its start.
type CascadeStats struct {
	Parts  uint64            // that were looked at, in doubt or not
	Looks  map[string]uint64 // of the large model, by why
	Missed map[string]uint64 // that it didn't take, by the reason
	Cost   time.Duration     // that it ran for them
	Mean   time.Duration     // a part, of the newest budgetParts
}

func (b *budget) stats() CascadeStats {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := CascadeStats{Parts: b.parts, Looks: maps.Clone(b.looks), Missed: maps.Clone(b.missed), Cost: b.cost}
	if n := min(b.parts, budgetParts); n > 0 {
		s.Mean = b.sum / time.Duration(n)
	}
	return s
}

// secondLooks are what became of the station's parts in doubt, as api tells it; nil
// without a large model.
func (s *Station) secondLooks(c *Cascade) *api.Cascade {
	if c == nil {
		return nil
	}
	st, about := s.budget.stats(), c.about()
	out := &api.Cascade{
		Model: api.Version{Name: about.Name, Digest: about.Digest}, Version: about.Version, Remote: c.Remote != nil, Parts: st.Parts,
		CostMS: api.MS(st.Cost), MeanMS: api.MS(st.Mean),
	}
	if c.Remote != nil {
		open, _, opened := c.Remote.breaker.state()
		out.Breaker = &api.Breaker{Open: open, Opened: opened}
	}
	for _, why := range Whys() {
		out.Looks = append(out.Looks, api.LookCount{Why: why, Count: st.Looks[why]})
	}
	for _, reason := range MissedReasons() {
		out.Missed = append(out.Missed, api.LookMissed{Reason: reason, Count: st.Missed[reason]})
	}
	return out
}
