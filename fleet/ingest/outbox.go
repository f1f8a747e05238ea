package ingest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sightline-edge/sightline/sync/wire"
)

// maxAnswers bounds the outbox. An answer that is lost is asked for again.
const maxAnswers = 1 << 14

// outbox holds answers on their way to the broker, which may be slow; the
// writer never waits for it. A newer answer takes an older one's place.
type outbox struct {
	ready chan struct{}

	mu      sync.Mutex // protects what follows
	answers map[answerTo]answer
	order   []answerTo
}

// answerTo is what only the newest answer matters for.
type answerTo struct {
	topic      string
	about      uint64 // the epoch, or the refusal's code
	connection uint64 // of a Hello that it answers
}

type answer struct{ body []byte }

func newOutbox() *outbox {
	return &outbox{ready: make(chan struct{}, 1), answers: map[answerTo]answer{}}
}

func (o *outbox) put(to answerTo, m proto.Message) {
	body, err := wire.Marshal(m)
	if err != nil {
		panic("BUG: an answer can't be encoded: " + err.Error())
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, there := o.answers[to]; !there {
		if len(o.order) >= maxAnswers {
			return
		}
		o.order = append(o.order, to)
	}
	o.answers[to] = answer{body}
	select {
	case o.ready <- struct{}{}:
	default:
	}
}

func (o *outbox) next() (topic string, body []byte, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.order) == 0 {
		return "", nil, false
	}
	to := o.order[0]
	o.order = o.order[1:]
	body = o.answers[to].body
	delete(o.answers, to)
	return to.topic, body, true
}

func (o *outbox) clear() {
	o.mu.Lock()
	defer o.mu.Unlock()
	clear(o.answers)
	o.order = nil
}

// answer publishes what is in the outbox. What can't be published is dropped:
// the device asks again.
func (in *Ingest) answer(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-in.out.ready:
		}
		for ctx.Err() == nil {
			topic, body, ok := in.out.next()
			if !ok {
				break
			}
			client := in.client.Load()
			if client == nil || !(*client).IsConnectionOpen() {
				in.out.clear()
				break
			}
			// The write's own time-out ends a connection that stands still.
			token := (*client).Publish(topic, 0, false, body)
			if !token.WaitTimeout(writeTimeout) || token.Error() != nil {
				in.out.clear()
			}
		}
	}
}

// ack tells a device how far its epoch has come.
func (in *Ingest) ack(device string, epoch, watermark, connection uint64) {
	in.out.put(answerTo{wire.Topic(device, wire.Down, wire.KindAck), epoch, connection},
		&wire.Ack{Epoch: epoch, Watermark: watermark, Connection: connection})
}

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
// uses it.
type limiter struct{ last map[limited]time.Time }

type limited struct {
	device string
	code   wire.Refusal_Code
}

const (
	refuseEvery = time.Second
	maxLimited  = 1 << 14
)

func (l *limiter) allow(device string, code wire.Refusal_Code) bool {
	now := time.Now()
	if len(l.last) >= maxLimited {
		for k, at := range l.last {
			if now.Sub(at) >= refuseEvery {
				delete(l.last, k)
			}
		}
	}
	if l.last == nil {
		l.last = map[limited]time.Time{}
	}
	k := limited{device, code}
	if at, ok := l.last[k]; ok && now.Sub(at) < refuseEvery || len(l.last) >= maxLimited {
		return false
	}
	l.last[k] = now
	return true
}
