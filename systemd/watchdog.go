package systemd

import (
	"context"
	"fmt"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// feeds is how often the watchdog is fed in the time after which the service
// manager kills the service: one feed that is late or lost does no harm.
const feeds = 4

// Watchdog feeds the service manager's watchdog (WatchdogSec=) until ctx ends,
// for as long as alive says that the service makes progress. What alive says
// no to is not fed; the manager then ends the service and starts it again, so
// it must only be no where a new start can help. Alive is called by one
// goroutine, four times in each WatchdogSec; if it hangs, nothing is fed
// either. Where no watchdog is set Watchdog returns nil at once. A feed that
// can't be sent is tried again at the next turn.
func Watchdog(ctx context.Context, alive func() bool) error {
	limit, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return fmt.Errorf("read WATCHDOG_USEC and WATCHDOG_PID of the service manager: %w", err)
	}
	if limit == 0 {
		return nil
	}
	tick := time.NewTicker(max(limit/feeds, time.Millisecond))
	defer tick.Stop()
	for {
		if alive() {
			_ = Notify(daemon.SdNotifyWatchdog) // the next turn tries again, and the manager acts if none gets through
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
