package updater

import (
	"math"
	"testing"
	"time"
)

func TestJudge(t *testing.T) {
	const ms = time.Millisecond
	cool := 50.0
	usual := trial{
		before: baseline{Verdicts: 1000, None: 10, Late: 1, ModelP50: 14 * ms, ModelP99: 20 * ms, AgeP99: 60 * ms, Celsius: &cool},
		now: Vitals{Verdicts: 40, None: 1, ModelP50: 15 * ms, ModelP99: 22 * ms, AgeP99: 70 * ms,
			Period: 33 * ms, Deadline: 200 * ms, Celsius: 55},
		since: 61 * time.Second, lasts: time.Minute, verdicts: 20,
	}
	for name, c := range map[string]struct {
		change func(*trial)
		want   finding
	}{
		"all is well":                 {func(*trial) {}, finding{done: true}},
		"not long enough":             {func(t *trial) { t.since = 59 * time.Second }, finding{waits: true}},
		"too few verdicts":            {func(t *trial) { t.now.Verdicts = 19 }, finding{waits: true}},
		"no parts for half an hour":   {func(t *trial) { t.now.Verdicts, t.now.None, t.since = 3, 0, 31*time.Minute }, finding{waits: true, reason: Idle}},
		"a crash in the first minute": {func(t *trial) { t.now.Restarts, t.since = 1, 30*time.Second }, finding{reason: Crashes}},
		"a crash at the very start":   {func(t *trial) { t.now.Restarts, t.since, t.now.Verdicts = 1, time.Second, 0 }, finding{reason: Crashes}},
		"one crash later":             {func(t *trial) { t.now.Restarts = 1 }, finding{done: true}},
		"two crashes later":           {func(t *trial) { t.now.Restarts = 2 }, finding{reason: Crashes}},
		"it can't work":               {func(t *trial) { t.now.Failure = "no model" }, finding{reason: Crashes}},
		"slower than pictures come":   {func(t *trial) { t.now.ModelP99 = 40 * ms }, finding{reason: Slow}},
		"slower, but fast enough":     {func(t *trial) { t.now.ModelP99 = 32 * ms }, finding{done: true}},
		"slower, and nobody knows":    {func(t *trial) { t.now.ModelP99, t.now.Period = 32*ms, 0 }, finding{reason: Slow}},
		"as slow as the one before":   {func(t *trial) { t.before.ModelP99, t.now.ModelP99 = 50*ms, 60*ms }, finding{done: true}},
		"slow only while it warms":    {func(t *trial) { t.now.ModelP99, t.since = 40*ms, 9*time.Second }, finding{waits: true}},
		"there was nothing before":    {func(t *trial) { t.before, t.now.ModelP99 = baseline{}, 40*ms }, finding{done: true}},
		"verdicts older than due":     {func(t *trial) { t.now.AgeP99 = 210 * ms }, finding{reason: Slow}},
		"verdicts older, in time":     {func(t *trial) { t.now.AgeP99 = 190 * ms }, finding{done: true}},
		"late verdicts":               {func(t *trial) { t.now.Late = 3 }, finding{reason: Late}},
		"two late ones are chance":    {func(t *trial) { t.now.Late = 2 }, finding{done: true}},
		"as many late as before":      {func(t *trial) { t.now.Late, t.before.Late = 3, 100 }, finding{done: true}},
		"NONE five points above":      {func(t *trial) { t.now.None = 3 }, finding{reason: NoneRate}},
		"NONE a little above":         {func(t *trial) { t.now.None = 2 }, finding{done: true}},
		"NONE of too few parts":       {func(t *trial) { t.now.Verdicts, t.now.None = 19, 19 }, finding{waits: true}},
		"NONE as before":              {func(t *trial) { t.before.None, t.now.None = 900, 36 }, finding{done: true}},
		"over 95 degrees":             {func(t *trial) { was := 90.0; t.before.Celsius, t.now.Celsius = &was, 96 }, finding{reason: Hot}},
		"as hot as before":            {func(t *trial) { was := 96.5; t.before.Celsius, t.now.Celsius = &was, 97 }, finding{done: true}},
		"fifteen degrees more":        {func(t *trial) { t.now.Celsius = 65.5 }, finding{reason: Hot}},
		"no sensor":                   {func(t *trial) { t.before.Celsius, t.now.Celsius = nil, math.NaN() }, finding{done: true}},
		"no sensor before":            {func(t *trial) { t.before.Celsius, t.now.Celsius = nil, 94 }, finding{done: true}},
		"no verdict is asked for":     {func(t *trial) { t.verdicts, t.now.Verdicts, t.now.None = 0, 0, 0 }, finding{done: true}},
		"late, before NONE, is told":  {func(t *trial) { t.now.Late, t.now.None = 40, 40 }, finding{reason: Late}},
		"a short probation still looks": {func(t *trial) {
			t.lasts, t.since, t.now.ModelP50, t.now.ModelP99 = 4*time.Second, 2*time.Second, 30*ms, 40*ms
		}, finding{reason: Slow}},
		"a busy second at the start": {func(t *trial) { // the usual picture is slower, too
			t.lasts, t.since, t.before.ModelP99, t.now.ModelP50, t.now.ModelP99 = 8*time.Second, 4*time.Second, 60*ms, 32*ms, 230*ms
		}, finding{waits: true}},
		"a busy moment at the start": {func(t *trial) { t.since, t.now.ModelP99, t.now.AgeP99 = 20*time.Second, 200*ms, 400*ms }, finding{waits: true}},
	} {
		t.Run(name, func(t *testing.T) {
			trial := usual
			c.change(&trial)
			got := judge(trial)
			if got.reason != c.want.reason || got.done != c.want.done || got.waits != c.want.waits {
				t.Errorf("found %+v, want %+v", got, c.want)
			}
			if got.reason != "" && got.text == "" {
				t.Error("no text")
			}
		})
	}
}
