package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sightline-edge/sightline/internal/health"
)

// watchCascade looks whether parts in doubt are looked at again.
func (a *Agent) watchCascade(s *Station, c *Cascade, now time.Time, gaveWay *counted) {
	away, missed, detail := "", uint64(0), ""
	if c != nil {
		var err error
		open, fault := false, ""
		switch {
		case c.Unfit != "":
		case c.Remote != nil:
			open, fault, _ = c.Remote.breaker.state()
		default:
			err = ready(c.Large)
		}
		switch {
		case c.Unfit != "":
			away = c.Unfit
		case open:
			away = "its server isn't asked for a while: " + fault
		case errors.Is(err, context.Canceled) && now.Sub(a.began) > loadPatience:
			away = "its process isn't ready"
		case err != nil && !errors.Is(err, context.Canceled):
			away = err.Error()
		}
		st := s.budget.stats()
		for _, reason := range MissedReasons() {
			if n := st.Missed[reason]; n > 0 {
				missed += n
				detail += fmt.Sprintf(", %d %s", n, reason)
			}
		}
	}
	a.set(health.LargeModelAway, s.cfg.ID, away != "", away)
	a.set(health.LargeModelGivesWay, s.cfg.ID, c != nil && recent(now, missed, &gaveWay.n, &gaveWay.at), "so far"+strings.Replace(detail, ",", "", 1))
}

// loadPatience is how long large models may take to be loaded after the start.
const loadPatience = 30 * time.Second
