package capture

// picked is a picture of a watched folder that was given to the feeds.
type picked struct {
	key  string // tells a new file of the same name
	left int    // feeds that haven't called Done
}

// again tells whether a picture of a watched folder has been given before, by a
// worker that has since been replaced.
func (c *Camera) again(name, key string) bool {
	if key == "" {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.taken[name]; p != nil && p.key == key {
		if s := c.session; p.left <= 0 && s != nil {
			_ = s.proc.Conn.Send(message{Kind: askDone, Name: name}) // the worker before had no time for it
		}
		return true
	}
	left := 0
	for _, f := range c.feeds {
		if !f.closed {
			left++
		}
	}
	c.taken[name] = &picked{key: key, left: left}
	return false
}

// Done tells that the picture of that name has its verdict, which is on disk:
// of a watched folder it may now be moved or deleted, once each feed's user has
// said so. Of other sources it does nothing.
func (f *Feed) Done(name string) {
	c := f.camera
	c.mu.Lock()
	p := c.taken[name]
	if p != nil {
		p.left--
	}
	over := p != nil && p.left <= 0
	c.mu.Unlock()
	if over {
		_ = c.ask(message{Kind: askDone, Name: name}) // where no worker is there, the next one finds the file again
	}
}

// gone forgets a picture that has been moved or deleted.
func (c *Camera) gone(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.taken, name)
}
