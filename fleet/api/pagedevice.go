package api

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/internal/auth"
	"github.com/sightline-edge/sightline/internal/web"
)

const deviceParts = 12 // newest results on the page of a device

// devicePageData is the page of one device.
type devicePageData struct {
	head
	Device    deviceView
	Word      string // its state
	Line      string // under the name
	Figures   []figure
	Warnings  []needView
	Stations  []stationRow
	Results   []resultView
	Link      []fact
	Board     []fact
	Inventory []fact
	Holes     []Hole
	MayRevoke bool
	Error     string
}

type stationRow struct {
	chip
	Station
	Yield, Told, Pictures string
	Passed                string // what its bundle passed without being proved by that
}

func viewStationRow(st *Station) stationRow {
	n := func(v uint64) string { return web.Count(int(v)) }
	row := stationRow{chip: viewStation(st), Station: *st, Yield: "–"}
	if all := st.Pass + st.Fail + st.None; all > 0 {
		row.Yield = web.Percent(float64(st.Pass) / float64(all))
	}
	row.Told = n(st.Pass) + " pass, " + n(st.Fail) + " fail, " + n(st.None) + " no decision"
	row.Pictures = fmt.Sprintf("%.0f /s, %s of %s inspected", st.Rate, n(st.Inferred), n(st.Frames))
	if st.Unmeasured != "" {
		row.Passed = passedUnmeasured + ": " + st.Unmeasured
	}
	return row
}

func (s *Server) devicePage(w http.ResponseWriter, r *http.Request) {
	s.showDevice(w, r, http.StatusOK, "")
}

func (s *Server) showDevice(w http.ResponseWriter, r *http.Request, status int, fault string) {
	ctx, id := r.Context(), r.PathValue("device")
	d, err := s.device(ctx, id)
	if err != nil {
		s.fault(w, r, err)
		return
	}
	totals, err := s.store.Totals(ctx, id)
	if err != nil {
		s.fault(w, r, s.unavailable(ctx, "read totals", err))
		return
	}
	rows, _, err := s.page(ctx, store.Query{Device: id, Limit: deviceParts})
	if err != nil {
		s.fault(w, r, err)
		return
	}
	holes, err := s.listHoles(ctx, &holesInput{Device: id, Limit: 5})
	if err != nil {
		s.fault(w, r, err)
		return
	}
	now := s.store.Now()
	v := viewDevice(d, now)
	data := devicePageData{
		head: newHead(r, v.Name, "", "/v1/events?wake=true&device="+id), Device: v, Figures: deviceFigures(&v, totals),
		Warnings: viewWarnings(v.Warnings), Link: linkFacts(d, &v, now), Board: v.Board.facts(), Inventory: v.Inventory.facts(),
		Holes: holes.Body.Holes, Error: fault,
		MayRevoke: who(ctx).Role.May(auth.Admin) && v.Presence != store.Revoked,
	}
	if data.Line = "group " + v.Group; v.Label != "" {
		data.Line = v.ID + " · " + data.Line
	}
	if data.Word = v.Word; v.Presence == store.Online && v.Class == "bad" {
		data.Word += ", with errors"
	} else if v.Presence == store.Online && v.Class == "warn" {
		data.Word += ", needs you"
	}
	for i := range v.Stations {
		data.Stations = append(data.Stations, viewStationRow(&v.Stations[i]))
	}
	for i := range rows {
		data.Results = append(data.Results, viewResult(&rows[i], nil))
	}
	s.render(w, status, "device", data)
}

func deviceFigures(v *deviceView, t store.Totals) []figure {
	rejected, unit := "–", ""
	if t.Results > 0 {
		rejected, unit = web.Percent(float64(t.Fail+t.None)/float64(t.Results)), "%"
	}
	list := []figure{
		{"Results", web.Count(int(t.Results)), "", "at the fleet"},
		{"Rejected", rejected, unit, fmt.Sprintf("%s fail + %s no decision", web.Count(int(t.Fail)), web.Count(int(t.None)))},
	}
	if v.Journal != nil {
		list = append(list, figure{"Backlog", v.Backlog, "", "records to come"})
	}
	if v.Ends != "" {
		list = append(list, figure{"Certificate", v.Ends, "", "left"})
		if v.Ends == "ended" {
			list[len(list)-1].Sub = "can't connect"
		}
	}
	return list
}

// linkFacts are of the connection, the journal and the certificate.
func linkFacts(d *store.Device, v *deviceView, now time.Time) []fact {
	var list []fact
	add := func(name, value, more, title string) { list = append(list, fact{name, value, more, title}) }
	moment := func(name string, t time.Time) {
		if !t.IsZero() {
			add(name, web.Age(now.Sub(t))+" ago", "", web.Stamp(t))
		}
	}
	if v.Presence == store.Online || v.Presence == store.Stale {
		moment("Connected", d.Connected)
	}
	moment("Ended", d.Ended)
	moment("Heard", d.Heard)
	if d.Every > 0 {
		add("Tells its state", "every "+web.Age(d.Every), "", "")
	}
	if off := clockError(d); off > 2*time.Second {
		add("Clock", web.Age(off)+" ahead", "", "")
	} else if off < -2*time.Second {
		add("Clock", web.Age(-off)+" behind", "", "")
	}
	if up := d.State.GetUptimeMs(); up > 0 {
		add("Agent runs for", web.Age(time.Duration(min(up, 1<<53))*time.Millisecond), "", "when it was heard last")
	}
	if j := v.Journal; j != nil {
		add("Journal", "record "+web.Count(int(j.Last)), size(j.Bytes), "epoch "+j.Epoch)
		add("Acknowledged", "up to "+web.Count(int(j.Watermark)), "", "")
		add("Dropped unsent", web.Count(int(j.Dropped)), "", "records that the device had to drop before the fleet had them")
	}
	moment("Enrolled", d.Enrolled)
	if d.CertSerial != "" {
		add("Certificate", d.CertNotAfter.Format("until 2006-01-02 15:04"), "serial "+web.Digest(d.CertSerial), v.CertTitle)
	}
	return list
}

func size(bytes uint64) string {
	if bytes == 0 {
		return ""
	}
	return web.Size(bytes)
}

// facts of what the device is made of.
func (i *Inventory) facts() []fact {
	if i == nil {
		return nil
	}
	var list []fact
	add := func(name, value, more string) {
		if value != "" {
			list = append(list, fact{Name: name, Value: value, More: more})
		}
	}
	add("Agent", i.Version, "")
	add("Board", i.Model, i.Serial)
	add("System", i.OS, strings.TrimSpace(i.Kernel+" "+i.Arch))
	add("JetPack", i.JetPack, "")
	if i.Cores > 0 {
		add("Processor", plural(int(i.Cores), "core", "cores"), size(i.Memory))
	}
	add("GPU", strings.Join(i.GPUs, ", "), "")
	return list
}

func (s *Server) revokeForm(w http.ResponseWriter, r *http.Request) {
	reason := strings.TrimSpace(short(r.PostFormValue("reason")))
	if reason == "" {
		s.showDevice(w, r, http.StatusUnprocessableEntity, "Say why: the reason is kept in the log.")
		return
	}
	if err := s.revoke(r.Context(), r.PathValue("device"), reason); err != nil {
		s.fault(w, r, err)
		return
	}
	http.Redirect(w, r, "/devices/"+r.PathValue("device"), http.StatusSeeOther)
}

// names of devices for people, by their ids.
func names(all []store.Device) map[string]string {
	m := make(map[string]string, len(all))
	for i := range all {
		m[all[i].ID] = cmp.Or(all[i].Label, all[i].ID)
	}
	return m
}
