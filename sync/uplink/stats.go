package uplink

import "time"

// Stats are the uplink's figures since it was made.
type Stats struct {
	Connected bool      // to the broker; whether the fleet is there shows in Located
	Located   bool      // the fleet has said on this connection where it is
	Since     time.Time // when Connected last changed; zero if it never did
	Connects  uint64    // connections made
	LastError string    // what ended the last connection, or kept one from being made; in words
	Refusal   string    // why the fleet doesn't take what this device sends; empty while it does

	Watermark uint64        // up to here the fleet has everything
	Backlog   uint64        // numbers above that in the journal
	InFlight  int           // batches sent and not acknowledged
	RTT       time.Duration // from sending a batch to its acknowledgement, smoothed

	Batches    uint64 // sent, all times counted
	Sent       uint64 // records and holes sent for the first time by this process
	Resent     uint64 // records and holes sent again
	Bytes      uint64 // of batches as MQTT gets them
	Acks       uint64 // that moved the watermark
	Retries    uint64 // times that nothing moved and sending went back
	Ignored    uint64 // messages from the fleet that made no sense
	Unreadable uint64 // times that the fleet couldn't read what was sent
	NewEpochs  uint64 // times that the fleet knew more of the journal than the journal itself
}

// Stats are the current figures.
func (u *Uplink) Stats() Stats {
	last := u.cfg.Journal.Stats().Last
	u.mu.Lock()
	defer u.mu.Unlock()
	s := u.stats
	s.Backlog = last - min(last, s.Watermark)
	return s
}

func (u *Uplink) update(f func(*Stats)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	f(&u.stats)
}

func (u *Uplink) connected(at time.Time) {
	u.update(func(s *Stats) { s.Connected, s.Since, s.Connects = true, at, s.Connects+1 })
}

func (u *Uplink) disconnected(s *session) {
	missed := s.missed // its goroutines have ended
	u.update(func(s *Stats) {
		s.Connected, s.Located, s.Since = false, false, time.Now()
		s.Ignored += missed
	})
}

// note keeps the error for whoever asks, and logs it when it is another one
// than before: an outage may last for weeks.
func (u *Uplink) note(err error) {
	text := err.Error()
	var news bool
	u.update(func(s *Stats) { news, s.LastError = s.LastError != text, text })
	if news {
		u.cfg.Log.Warn("no connection to the fleet", "err", err)
	}
}
