// What Sarama has to see, or fail: called by ../run, which says what for.
//
//	check work ADDRESS VECTORS    produces the matrix, and does the rest of what is checked
//	check read ADDRESS TOPIC...   each has the records of the matrix
package main

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"log"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/IBM/sarama"
)

const (
	records = 200
	timeout = 30 * time.Second // for anything
)

var (
	// As whose clients Sarama behaves. The default speaks to Kafka 2.8.
	versions = []sarama.KafkaVersion{
		sarama.V1_0_0_0, sarama.DefaultVersion, sarama.V3_6_0_0, sarama.MaxVersion,
	}
	codecs = []sarama.CompressionCodec{
		sarama.CompressionNone, sarama.CompressionGZIP, sarama.CompressionSnappy,
		sarama.CompressionLZ4, sarama.CompressionZSTD,
	}
	headers = []sarama.RecordHeader{
		{Key: []byte("a"), Value: []byte("1")},
		{Key: []byte("a"), Value: []byte("2")},
		{Key: []byte("empty"), Value: []byte{}},
	}
	acks = []struct {
		name string
		set  func(*sarama.Config)
	}{
		{"0", func(c *sarama.Config) { c.Producer.RequiredAcks = sarama.NoResponse }},
		{"1", func(c *sarama.Config) { c.Producer.RequiredAcks = sarama.WaitForLocal }},
		{"all", func(c *sarama.Config) { c.Producer.RequiredAcks = sarama.WaitForAll }},
		{"idempotent", func(c *sarama.Config) {
			c.Producer.RequiredAcks = sarama.WaitForAll
			c.Producer.Idempotent = true
			c.Net.MaxOpenRequests = 1
		}},
	}
	checks int
)

func main() {
	log.SetFlags(0)
	task, addresses, rest := os.Args[1], os.Args[2:3], os.Args[3:]
	if task == "read" {
		for at, version := range versions {
			from, to := len(rest)*at/len(versions), len(rest)*(at+1)/len(versions)
			readAll(addresses, version, rest[from:to])
		}
		fmt.Println("records", records*len(rest))
		return
	}
	for _, version := range versions {
		matrix(addresses, version)
		hashing(addresses, version, rest[0])
		nulls(addresses, version)
		sizes(addresses, version)
		times(addresses, version)
	}
	topics(addresses)
	fmt.Println("checks", checks)
}

func must[T any](value T, err error) T {
	no(err)
	return value
}

func no(err error) {
	if err != nil {
		panic(err)
	}
}

func same(what string, seen, expected any) {
	if !reflect.DeepEqual(seen, expected) {
		log.Panicf("%s differs from what is expected\nseen: %v\nexpected: %v", what, seen, expected)
	}
	checks++
}

func config(version sarama.KafkaVersion) *sarama.Config {
	config := sarama.NewConfig()
	config.Version = version
	config.Producer.Return.Successes = true
	config.Producer.Flush.MaxMessages = 50
	config.Producer.Timeout = timeout
	config.Consumer.MaxWaitTime = 20 * time.Millisecond
	return config
}

func record(topic string, number int) *sarama.ProducerMessage {
	value := fmt.Sprintf("value-%05d and on and on and on and on and on and on", number)
	return &sarama.ProducerMessage{
		Topic:   topic,
		Key:     sarama.StringEncoder(fmt.Sprintf("key-%05d", number)),
		Value:   sarama.StringEncoder(value),
		Headers: headers,
	}
}

func matrix(addresses []string, version sarama.KafkaVersion) {
	for _, codec := range codecs {
		if codec == sarama.CompressionZSTD && !version.IsAtLeast(sarama.V2_1_0_0) {
			continue // Sarama refuses to.
		}
		for _, acks := range acks {
			topic := fmt.Sprintf("sarama-%s-%s-%s", version, codec, acks.name)
			config := config(version)
			config.Producer.Compression = codec
			acks.set(config)
			messages := make([]*sarama.ProducerMessage, records)
			for at := range messages {
				messages[at] = record(topic, at)
			}
			produce(addresses, config, messages)
			for at, message := range messages {
				if acks.name != "0" && message.Offset != int64(at) {
					log.Panicf("%s: record %d has offset %d", topic, at, message.Offset)
				}
			}
			waitForEnd(addresses, config, topic)
			fmt.Println("topic", topic)
		}
	}
}

func produce(addresses []string, config *sarama.Config, messages []*sarama.ProducerMessage) {
	producer, end := newProducer(addresses, config)
	if err := producer.SendMessages(messages); err != nil {
		var all sarama.ProducerErrors
		if errors.As(err, &all) {
			log.Panicf("%s: %d errors; the first: %v", messages[0].Topic, len(all), all[0])
		}
		panic(err)
	}
	end()
}

// A producer whose connection is there before it begins. While it connects, Sarama may close a
// connection on which a first request waits, and then repeats the request, as it does with Apache
// Kafka: records are twice there if the producer is not idempotent.
func newProducer(addresses []string, config *sarama.Config) (sarama.SyncProducer, func()) {
	client := must(sarama.NewClient(addresses, config))
	for _, broker := range client.Brokers() {
		if err := broker.Open(config); !errors.Is(err, sarama.ErrAlreadyConnected) {
			no(err)
		}
		must(broker.Connected())
	}
	producer := must(sarama.NewSyncProducerFromClient(client))
	return producer, func() {
		no(producer.Close())
		no(client.Close())
	}
}

// What was produced with acks of 0 may still be on its way.
func waitForEnd(addresses []string, config *sarama.Config, topic string) {
	client := must(sarama.NewClient(addresses, config))
	defer client.Close()
	deadline := time.Now().Add(timeout)
	for must(client.GetOffset(topic, 0, sarama.OffsetNewest)) != records {
		if time.Now().After(deadline) {
			log.Panicf("not all is in %s", topic)
		}
	}
	checks++
}

// Some messages of a partition, from its beginning.
func consume(consumer sarama.Consumer, topic string, partition int32, count int,
) []*sarama.ConsumerMessage {
	reader := must(consumer.ConsumePartition(topic, partition, sarama.OffsetOldest))
	defer reader.Close()
	return take(reader, topic, count)
}

func take(reader sarama.PartitionConsumer, topic string, count int) []*sarama.ConsumerMessage {
	messages := make([]*sarama.ConsumerMessage, count)
	for at := range messages {
		select {
		case messages[at] = <-reader.Messages():
		case <-time.After(timeout):
			log.Panicf("%s: %d of %d messages came", topic, at, count)
		}
	}
	return messages
}

// The records of the matrix in all these topics, which are fetched together.
func readAll(addresses []string, version sarama.KafkaVersion, topics []string) {
	client := must(sarama.NewClient(addresses, config(version)))
	consumer := must(sarama.NewConsumerFromClient(client))
	readers := make([]sarama.PartitionConsumer, len(topics))
	for at, topic := range topics {
		newest := must(client.GetOffset(topic, 0, sarama.OffsetNewest))
		same(topic+"'s end", newest, int64(records))
		readers[at] = must(consumer.ConsumePartition(topic, 0, sarama.OffsetOldest))
	}
	for at, topic := range topics {
		for number, message := range take(readers[at], topic, records) {
			if !isRecord(message, number) {
				log.Panicf("%s: record %d differs: %+v", topic, number, message)
			}
		}
	}
	for _, reader := range readers {
		reader.AsyncClose()
	}
	no(consumer.Close())
	no(client.Close())
}

func isRecord(message *sarama.ConsumerMessage, number int) bool {
	expected := record(message.Topic, number)
	isSame := message.Offset == int64(number) &&
		bytes.Equal(message.Key, must(expected.Key.Encode())) &&
		bytes.Equal(message.Value, must(expected.Value.Encode())) &&
		len(message.Headers) == len(headers)
	for at, header := range message.Headers {
		isSame = isSame && bytes.Equal(header.Key, headers[at].Key) &&
			bytes.Equal(header.Value, headers[at].Value)
	}
	return isSame
}

func named(version sarama.KafkaVersion, what string) string {
	return fmt.Sprintf("sarama-%s-%s", version, what)
}

func create(addresses []string, config *sarama.Config, topic string, partitions int32) {
	admin := must(sarama.NewClusterAdmin(addresses, config))
	detail := &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 3}
	no(admin.CreateTopic(topic, detail, false))
	no(admin.Close())
}

// Sarama's default is a hash of keys by FNV-1a, as Ottla's: the vectors hold both to it.
func hashing(addresses []string, version sarama.KafkaVersion, vectors string) {
	topic, config := named(version, "hashing"), config(version)
	const partitions = 12
	create(addresses, config, topic, partitions)
	var messages []*sarama.ProducerMessage
	var expected []string
	for _, line := range strings.Split(string(must(os.ReadFile(vectors))), "\n") {
		row := strings.Split(line, "\t")
		if len(row) < 3 || row[1] != fmt.Sprint(partitions) {
			continue
		}
		key := sarama.ByteEncoder(must(hex.DecodeString(row[0])))
		messages = append(messages, &sarama.ProducerMessage{Topic: topic, Key: key})
		expected = append(expected, row[2])
	}
	if len(messages) < 50 {
		log.Panicf("there are only %d vectors", len(messages))
	}
	produce(addresses, config, messages)
	keys := make([][]string, partitions)
	for at, message := range messages {
		same("partition of a key", fmt.Sprint(message.Partition), expected[at])
		key := hex.EncodeToString(must(message.Key.Encode()))
		keys[message.Partition] = append(keys[message.Partition], key)
	}
	consumer := must(sarama.NewConsumer(addresses, config))
	for partition := range keys {
		var seen []string
		for _, message := range consume(consumer, topic, int32(partition), len(keys[partition])) {
			seen = append(seen, hex.EncodeToString(message.Key))
		}
		same("keys of a partition", seen, keys[partition])
	}
	no(consumer.Close())
}

func nulls(addresses []string, version sarama.KafkaVersion) {
	topic, config := named(version, "nulls"), config(version)
	produce(addresses, config, []*sarama.ProducerMessage{
		{Topic: topic, Value: sarama.StringEncoder("no key")},
		{Topic: topic, Key: sarama.StringEncoder("no value")},
		{Topic: topic, Key: sarama.StringEncoder(""), Value: sarama.StringEncoder("")},
	})
	consumer := must(sarama.NewConsumer(addresses, config))
	messages := consume(consumer, topic, 0, 3)
	same("null key", messages[0].Key == nil && string(messages[0].Value) == "no key", true)
	same("null value", string(messages[1].Key) == "no value" && messages[1].Value == nil, true)
	isEmpty := func(bytes []byte) bool { return bytes != nil && len(bytes) == 0 }
	same("empty", isEmpty(messages[2].Key) && isEmpty(messages[2].Value), true)
	no(consumer.Close())
}

func sizes(addresses []string, version sarama.KafkaVersion) {
	topic, config := named(version, "sizes"), config(version)
	config.Producer.MaxMessageBytes = 4 << 20
	producer, end := newProducer(addresses, config)
	large := bytes.Repeat([]byte("0123456789"), 104_000)
	message := &sarama.ProducerMessage{Topic: topic, Value: sarama.ByteEncoder(large)}
	_, offset, err := producer.SendMessage(message)
	no(err)
	same("offset of a large message", offset, int64(0))
	message.Value = sarama.ByteEncoder(bytes.Repeat(large, 2))
	_, _, err = producer.SendMessage(message)
	same("one over the limit", errors.Is(err, sarama.ErrMessageSizeTooLarge), true)
	end()
	consumer := must(sarama.NewConsumer(addresses, config))
	message0 := consume(consumer, topic, 0, 1)[0]
	same("a large message", bytes.Equal(message0.Value, large), true)
	no(consumer.Close())
}

func times(addresses []string, version sarama.KafkaVersion) {
	topic, config := named(version, "times"), config(version)
	first := time.UnixMilli(1_700_000_000_000)
	var messages []*sarama.ProducerMessage
	for at := range 60 {
		value := sarama.StringEncoder(fmt.Sprint(at))
		timestamp := first.Add(time.Duration(at) * time.Second)
		messages = append(messages,
			&sarama.ProducerMessage{Topic: topic, Value: value, Timestamp: timestamp})
	}
	produce(addresses, config, messages)
	consumer := must(sarama.NewConsumer(addresses, config))
	for at, message := range consume(consumer, topic, 0, len(messages)) {
		same("time", message.Timestamp.UnixMilli(), messages[at].Timestamp.UnixMilli())
	}
	no(consumer.Close())
	client := must(sarama.NewClient(addresses, config))
	for ms, expected := range map[int64]int64{
		0: 0, 30_000: 30, 30_001: 31, 59_000: 59, 59_001: -1,
	} {
		offset := must(client.GetOffset(topic, 0, first.UnixMilli()+ms))
		same(fmt.Sprintf("offset at %d ms", ms), offset, expected)
	}
	no(client.Close())
}

func topics(addresses []string) {
	config, topic := sarama.NewConfig(), "sarama-topic"
	config.Metadata.AllowAutoTopicCreation = false
	create(addresses, config, topic, 3)
	admin := must(sarama.NewClusterAdmin(addresses, config))
	detail := &sarama.TopicDetail{NumPartitions: 3, ReplicationFactor: 1}
	err := admin.CreateTopic(topic, detail, false)
	same("creation again", errors.Is(err, sarama.ErrTopicAlreadyExists), true)
	long := "long"
	detail.ConfigEntries = map[string]*string{"retention.ms": &long}
	err = admin.CreateTopic("sarama-wrong", detail, false)
	same("a wrong config", errors.Is(err, sarama.ErrInvalidConfig), true)

	client := must(sarama.NewClient(addresses, config))
	same("partitions", must(client.Partitions(topic)), []int32{0, 1, 2})
	no(admin.DeleteTopic(topic))
	err = admin.DeleteTopic(topic)
	same("deletion again", errors.Is(err, sarama.ErrUnknownTopicOrPartition), true)
	err = client.RefreshMetadata(topic)
	same("no more there", errors.Is(err, sarama.ErrUnknownTopicOrPartition), true)
	no(client.Close())
	no(admin.Close())
}
