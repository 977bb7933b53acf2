package main

import (
	"time"

	"github.com/catga-go/catga/framework"
)

// nodeView is one node in a list.
type nodeView struct {
	NodeID   string `json:"nodeId"`
	Endpoint string `json:"endpoint"`
	IsOnline bool   `json:"isOnline"`
}

// currentView is the node that answers.
type currentView struct {
	NodeID   string    `json:"nodeId"`
	Endpoint string    `json:"endpoint"`
	LastSeen time.Time `json:"lastSeen"`
	Load     float64   `json:"load"`
	IsOnline bool      `json:"isOnline"`
}

// healthView is GET /health.
type healthView struct {
	CurrentNode currentView `json:"currentNode"`
	TotalNodes  int         `json:"totalNodes"`
	OnlineNodes int         `json:"onlineNodes"`
	Nodes       []nodeView  `json:"nodes"`
}

func viewNodes(nodes []framework.NodeInfo) []nodeView {
	views := make([]nodeView, 0, len(nodes)) // an empty list is [], never null
	for _, n := range nodes {
		views = append(views, nodeView{NodeID: n.ID, Endpoint: n.Endpoint, IsOnline: n.Online})
	}
	return views
}

func viewHealth(self framework.NodeInfo, nodes []framework.NodeInfo) healthView {
	h := healthView{
		CurrentNode: currentView{
			NodeID: self.ID, Endpoint: self.Endpoint, Load: self.Load, IsOnline: self.Online,
			LastSeen: self.LastSeen.UTC().Truncate(time.Second),
		},
		TotalNodes: len(nodes),
		Nodes:      viewNodes(nodes),
	}
	for _, n := range nodes {
		if n.Online {
			h.OnlineNodes++
		}
	}
	return h
}
