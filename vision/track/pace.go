package track

import "time"

// paceFrames is over how many frames the usual time is taken.
const paceFrames = 32

// pace knows how long the camera usually takes for a picture. Pictures that wait
// somewhere come in a bunch, stamped as if hardly any time had passed between
// them: taken at their word, a part would move at many times its speed.
type pace struct {
	took  [paceFrames]interval // by the newest frames
	sum   interval
	n     int
	after uint64 // Seq of the newest frame
}

// interval is the time from one frame to another, and the pictures that the
// camera gave in it.
type interval struct {
	time     time.Duration
	pictures uint64
}

// steady is how much time has passed since the last frame: what the clock says
// or, where that is far less than usual for so many pictures, the usual time.
func (p *pace) steady(seq uint64, dt time.Duration) time.Duration {
	const most = 1000 // pictures that are missing at once
	now := interval{dt, min(max(seq, p.after+1)-p.after, most)}
	p.after = seq
	if dt <= 0 {
		return dt
	}
	slot := &p.took[p.n%paceFrames]
	p.sum.time += now.time - slot.time
	p.sum.pictures += now.pictures - slot.pictures
	*slot = now
	p.n++
	if usual := p.sum.time / time.Duration(p.sum.pictures) * time.Duration(now.pictures); dt < usual/2 {
		return usual
	}
	return dt
}
