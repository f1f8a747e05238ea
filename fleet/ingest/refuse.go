package ingest

import (
	"fmt"
	"time"

	"github.com/sightline-edge/sightline/sync/wire"
)

// retryAfter is when a device may try again what the fleet couldn't store.
const retryAfter = 5 * time.Second

// refuse tells a device why nothing is taken of it, once a second at most.
func (in *Ingest) refuse(device string, code wire.Refusal_Code, text string) {
	in.count.refused.Add(1)
	if !in.limit.allow(device, code) {
		return
	}
	r := &wire.Refusal{Code: code, Text: text}
	if code == wire.Refusal_CODE_UNAVAILABLE {
		r.RetryMs = uint32(retryAfter.Milliseconds())
	}
	in.out.put(answerTo{topic: wire.Topic(device, wire.Down, wire.KindError), about: uint64(code)}, r)
}

func (in *Ingest) refuseUnknown(device string) {
	in.refuse(device, wire.Refusal_CODE_REVOKED, fmt.Sprintf("device %s isn't enrolled, or was revoked: enrol it again", device))
}

// limiter lets a refusal to a device through once a second. Only the writer
// uses it. It remembers this second's and the last one's.
type limiter struct {
	now, before map[limited]time.Time
	turned      time.Time
}

type limited struct {
	device string
	code   wire.Refusal_Code
}

const (
	refuseEvery = time.Second
	maxLimited  = 1 << 14 // in a second, of all devices
)

func (l *limiter) allow(device string, code wire.Refusal_Code) bool {
	at := time.Now()
	if at.Sub(l.turned) >= refuseEvery {
		l.now, l.before, l.turned = map[limited]time.Time{}, l.now, at
	}
	k := limited{device, code}
	last, ok := l.now[k]
	if !ok {
		last, ok = l.before[k]
	}
	if ok && at.Sub(last) < refuseEvery || len(l.now) >= maxLimited {
		return false
	}
	l.now[k] = at
	return true
}
