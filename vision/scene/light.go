package scene

import "math"

// NoiseSigma is the sensor's noise at full light, in grey levels.
const NoiseSigma = 2.0

const noiseLen = 1 << 16

// light is what lies between the world and the picture's bytes: an uneven
// lamp that drifts and flickers, and the sensor's noise.
type light struct {
	seed  uint64
	field []uint16   // of the lamp, for each pixel, 256 is full light
	noise []int8     // grey levels
	clamp [1024]byte // of value+256
	phase [4]float64 // of the drift and flicker
	freq  [2]float64 // of the drift, radians a second
}

func newLight(cfg Config) *light {
	l := &light{
		seed:  cfg.Seed,
		field: make([]uint16, cfg.Width*cfg.Height),
		// Rows start anywhere in the table and run beyond its end.
		noise: make([]int8, noiseLen+cfg.Width*3),
	}
	for i := range l.clamp {
		l.clamp[i] = byte(min(max(i-256, 0), 255))
	}
	r := random(cfg.Seed, streamLight, 0)
	for i := range l.phase {
		l.phase[i] = between(r, 0, 2*math.Pi)
	}
	l.freq = [2]float64{2 * math.Pi / between(r, 20, 45), 2 * math.Pi / between(r, 5, 9)}
	cx, cy := between(r, 0.38, 0.62), between(r, 0.38, 0.5)
	for y := range cfg.Height {
		for x := range cfg.Width {
			dx := float64(x)/float64(cfg.Width) - cx
			dy := float64(y)/float64(cfg.Height) - cy
			l.field[y*cfg.Width+x] = uint16(fixed(1.04 - 0.42*dx*dx - 0.55*dy*dy))
		}
	}
	n := random(cfg.Seed, streamNoise, 0)
	for i := range noiseLen {
		// The sum of four even draws is near enough to a bell, and exact everywhere.
		sum := 0.0
		for range 4 {
			sum += between(n, -1, 1)
		}
		l.noise[i] = int8(math.Floor(sum*NoiseSigma*math.Sqrt(0.75) + 0.5))
	}
	copy(l.noise[noiseLen:], l.noise)
	return l
}

// gain is the lamp's strength at t seconds in a row at that share of the
// height, 256 is full light. A rolling shutter turns flicker into bands.
func (l *light) gain(t, row float64) int {
	slow := 0.05*math.Sin(l.freq[0]*t+l.phase[0]) + 0.03*math.Sin(l.freq[1]*t+l.phase[1])
	flicker := 0.012 * math.Sin(2*math.Pi*(100.7*t+0.9*row)+l.phase[2])
	return fixed(0.97 + slow + flicker)
}

// apply lights one row of the picture and adds the noise of frame n.
func (l *light) apply(row []byte, y, gain, n int) {
	field := l.field[y*len(row)/3:]
	field = field[:len(row)/3]
	start := mixHash(l.seed, uint64(n), uint64(y)) % noiseLen
	noise := l.noise[start:]
	noise = noise[:len(row)]
	for x, f := range field {
		g := int(f) * gain >> 8
		px := row[x*3 : x*3+3 : x*3+3]
		nz := noise[x*3 : x*3+3 : x*3+3]
		px[0] = l.clamp[(int(px[0])*g>>8+int(nz[0])+256)&1023]
		px[1] = l.clamp[(int(px[1])*g>>8+int(nz[1])+256)&1023]
		px[2] = l.clamp[(int(px[2])*g>>8+int(nz[2])+256)&1023]
	}
}

// mixHash spreads three numbers over all bits.
func mixHash(a, b, c uint64) uint64 {
	h := a*0x9e3779b97f4a7c15 ^ b*0xc2b2ae3d27d4eb4f ^ c*0x165667b19e3779f9
	h ^= h >> 29
	h *= 0xbf58476d1ce4e5b9
	h ^= h >> 32
	h *= 0x94d049bb133111eb
	return h ^ h>>31
}
