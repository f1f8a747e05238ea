package api

import (
	"cmp"
	"slices"
	"time"

	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/internal/health"
	"github.com/sightline-edge/sightline/internal/web"
	"github.com/sightline-edge/sightline/sync/wire"
)

// What the fleet can say about a device, beside what the device says itself.
var (
	deviceStale = health.Warning{
		Code: "device_stale", Severity: health.Warn, Title: "nothing is heard of the device",
		Do: "Check its network. It goes on inspecting and sends what it recorded when it is back.",
	}
	deviceOffline = health.Warning{
		Code: "device_offline", Severity: health.Warn, Title: "the device's connection has ended",
		Do: "If nobody switched it off, check its power and its network. It sends what it recorded when it is back.",
	}
	deviceNever = health.Warning{
		Code: "device_never", Severity: health.Warn, Title: "the device was enrolled and has never connected",
		Do: "Start sightline-agent there, and check that it reaches the broker's port.",
	}
	deviceRevoked = health.Warning{
		Code: "device_revoked", Severity: health.Info, Title: "the device is revoked, nothing more is taken from it",
		Do: "Enrol it anew with a fresh token if it should be back.",
	}
	deviceCertificate = health.Warning{
		Code: "device_certificate", Severity: health.Warn, Title: "the device's certificate isn't renewed",
		Do: "Check that the device reaches the fleet's HTTPS port; its log says why it couldn't. After the grace it must be enrolled anew.",
	}
	deviceClock = health.Warning{
		Code: "device_clock", Severity: health.Warn, Title: "the device's clock is wrong",
		Do: "Set it, or let it be set over the network. Results keep their order, but their times can't be trusted.",
	}
	deviceDropped = health.Warning{
		Code: "device_dropped", Severity: health.Warn, Title: "results were dropped before the fleet had them",
		Do: "Give the device's journal more room, or its network more time. What was dropped is counted under Holes.",
	}
	stationStopped = health.Warning{
		Code: "station_stopped", Severity: health.Error, Title: "the station doesn't inspect",
		Do: "The agent's page and its log say more. Parts that pass meanwhile aren't inspected.",
	}
)

const (
	neverAfter = 15 * time.Minute // an enrolled device should have connected
	certSoon   = 48 * time.Hour   // renewal begins long before
	clockOff   = time.Minute
)

// judge is all that a person should know of the device: its own warnings and
// the fleet's about it, the worst first. What the device said itself is of the
// time when it was heard last.
func judge(d *store.Device, now time.Time) []health.Raised {
	list := []health.Raised{}
	raise := func(w health.Warning, subject, detail string, since time.Time) {
		text := w.Title
		if detail != "" {
			text += ": " + detail
		}
		list = append(list, health.Raised{Code: w.Code, Severity: w.Severity, Subject: subject, Text: text, Do: w.Do, Since: since})
	}
	presence, since := d.Presence(now)
	switch presence {
	case store.Revoked:
		raise(deviceRevoked, "", "", since)
		return list
	case store.Stale:
		raise(deviceStale, "", "", since)
	case store.Offline:
		raise(deviceOffline, "", "", since)
	case store.Never:
		if now.Sub(since) > neverAfter {
			raise(deviceNever, "", "", since)
		}
	}
	if end := d.CertNotAfter; !end.IsZero() && now.After(end) {
		raise(deviceCertificate, "", "it ended "+web.Age(now.Sub(end))+" ago", end)
	} else if !end.IsZero() && end.Sub(now) < certSoon && now.Sub(d.Enrolled) > certSoon {
		raise(deviceCertificate, "", "it ends in "+web.Age(end.Sub(now)), time.Time{})
	}
	if off := clockError(d); off > clockOff {
		raise(deviceClock, "", web.Age(off)+" ahead", time.Time{})
	} else if off < -clockOff {
		raise(deviceClock, "", web.Age(-off)+" behind", time.Time{})
	}
	if n := d.State.GetJournal().GetDropped(); n > 0 {
		raise(deviceDropped, "", web.Count(int(n)), time.Time{})
	}
	list = append(list, said(d)...)
	slices.SortStableFunc(list, worseFirst)
	return list
}

func worseFirst(a, b health.Raised) int { return cmp.Compare(b.Severity, a.Severity) }

// said are the warnings that the device itself told, with the fleet's times,
// and its stations that don't inspect where it told none.
func said(d *store.Device) []health.Raised {
	var list []health.Raised
	told := map[string]bool{} // stations with an error of their own
	for _, w := range d.State.GetWarnings() {
		r := health.Raised{
			Code: w.GetCode(), Severity: health.Severity(min(max(w.GetSeverity(), uint32(health.Info)), uint32(health.Error))),
			Subject: w.GetSubject(), Text: w.GetText(), Do: w.GetAct(),
		}
		if w.GetSince() != 0 {
			r.Since = wire.Time(w.GetSince()).Add(-clockError(d))
		}
		list = append(list, r)
		told[r.Subject] = told[r.Subject] || r.Severity == health.Error
	}
	for _, st := range d.State.GetStations() {
		if s := st.GetState(); told[st.GetId()] || s != "stalled" && s != "failed" {
			continue
		}
		told[st.GetId()] = true
		r := health.Raised{Code: stationStopped.Code, Severity: stationStopped.Severity, Subject: st.GetId(), Text: stationStopped.Title, Do: stationStopped.Do}
		if t := st.GetText(); t != "" {
			r.Text += ": " + t
		}
		list = append(list, r)
	}
	return list
}

// clockError is how far the device's clock is ahead of the fleet's, as its
// newest State showed; it includes that message's way.
func clockError(d *store.Device) time.Duration {
	if d.State.GetClock() == 0 || d.StateAt.IsZero() {
		return 0
	}
	return wire.Time(d.State.GetClock()).Sub(d.StateAt)
}
