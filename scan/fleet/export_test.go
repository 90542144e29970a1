package fleet

// Struck is the number of contents that a fleet remembers as harmful.
func Struck(f *Fleet) int { return f.poison.order.Len() }
