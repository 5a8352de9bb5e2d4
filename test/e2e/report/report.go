// Package report holds what the clients of the end-to-end suite answer to it, as JSON.
package report

import "time"

// Tokens is the answer of the workload that mints.
type Tokens struct {
	Tokens []string `json:"tokens"`
}

// Window is what the gateway has seen since it was last asked.
type Window struct {
	// Duration is how long that is.
	Duration time.Duration `json:"duration"`
	// Issuers tells of the tokens, by the issuer's namespace and name.
	Issuers map[string]Issuer `json:"issuers"`
	// Paths tells of the requests to Keyturn, by the way they took.
	Paths map[string]Path `json:"paths"`
	// Troubles are the first things that went wrong.
	Troubles []string `json:"troubles"`
}

// Issuer tells of the tokens of one issuer. All of them were good.
type Issuer struct {
	// Tokens counts distinct tokens that passed both ways when they were new.
	Tokens int `json:"tokens"`
	// Late counts those that passed both ways again shortly before they expired.
	Late int `json:"late"`
	// Rejected counts the times that a token did not pass with the cached JWKS. What /verify denied is counted by path.
	Rejected int `json:"rejected"`
	// Keys counts the new tokens that passed, by the id of the key that signed them.
	Keys map[string]int `json:"keys"`
}

// Path tells of the requests that took one way, such as new connections to the Service.
type Path struct {
	Requests int `json:"requests"`
	// Denied counts answers other than those that a good token or a request for the JWKS must get.
	Denied int `json:"denied"`
	// Retried counts requests that needed a second attempt because the connection broke or could not be made.
	Retried int `json:"retried"`
	// Failed counts requests that got no answer in spite of all attempts.
	Failed int `json:"failed"`
	// Median, P99 and Longest are times from the first attempt to the answer.
	Median  time.Duration `json:"median"`
	P99     time.Duration `json:"p99"`
	Longest time.Duration `json:"longest"`
	// Gap is the longest time between two answers that were as they must be.
	Gap time.Duration `json:"gap"`
}

// RevocationRequest asks for tokens to be revoked one after another.
type RevocationRequest struct {
	// Namespace and Issuer say whose tokens.
	Namespace string `json:"namespace"`
	Issuer    string `json:"issuer"`
	Count     int    `json:"count"`
	// Replicas are the addresses of all replicas, with the port.
	Replicas []string `json:"replicas"`
}

// Revocation is what became of one token.
type Revocation struct {
	// Name is that of the TokenRevocation.
	Name string `json:"name"`
	// Written is how long the API server took to answer the write.
	Written time.Duration `json:"written"`
	// Denied is the time from the begin of the write to the first denial by each replica.
	Denied map[string]time.Duration `json:"denied"`
}

// Processes is the answer to who looks for processes, or has sent them a signal.
type Processes struct {
	PIDs []int `json:"pids"`
}
