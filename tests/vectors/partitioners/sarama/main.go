// Reads keys (hex, one a line) and prints: key, partitions, partition chosen by Sarama's default.
package main

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"os"

	"github.com/IBM/sarama"
)

var partitionCounts = []int32{1, 2, 3, 6, 7, 12, 100, 1000}

func main() {
	partitioner := sarama.NewHashPartitioner("topic")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		key, err := hex.DecodeString(lines.Text())
		if err != nil {
			panic(err)
		}
		for _, partitions := range partitionCounts {
			message := &sarama.ProducerMessage{Topic: "topic", Key: sarama.ByteEncoder(key)}
			partition, err := partitioner.Partition(message, partitions)
			if err != nil {
				panic(err)
			}
			fmt.Printf("%x\t%d\t%d\n", key, partitions, partition)
		}
	}
}
