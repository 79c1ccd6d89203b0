package endpoint

// Role says which end of the payload an agent is.
type Role string

// The two roles.
const (
	RX Role = "rx"
	TX Role = "tx"
)
