import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.errors.SaslAuthenticationException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** A server that speaks TLS, and knows alice, whose password is secret. */
class Locked {
    private static final List<String> MECHANISMS =
            List.of("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512");

    private final Check check;
    private final String authority;

    Locked(Check check, String authority) {
        this.check = check;
        this.authority = authority;
    }

    void all() {
        MECHANISMS.forEach(this::one);
        System.out.println("feature locked");
    }

    private void one(String mechanism) {
        Map<String, Object> known = settings(mechanism, "secret");
        String topic = "java-locked-" + mechanism;
        try (var producer = new KafkaProducer<>(known, new StringSerializer(),
                new StringSerializer())) {
            var sent = IntStream.range(0, Check.RECORDS)
                    .mapToObj(number -> producer.send(new ProducerRecord<>(topic, "" + number)))
                    .toList();
            sent.forEach(Check::get);
        }
        known.put("group.id", topic);
        known.put("auto.offset.reset", "earliest");
        List<String> seen = new ArrayList<>();
        try (var consumer = new KafkaConsumer<>(known, new StringDeserializer(),
                new StringDeserializer())) {
            consumer.subscribe(List.of(topic));
            Check.until("all are read by " + mechanism, () -> {
                consumer.poll(Duration.ofMillis(100)).forEach(record -> seen.add(record.value()));
                return seen.size() >= Check.RECORDS;
            });
        }
        Check.same("what is read by " + mechanism, seen,
                IntStream.range(0, Check.RECORDS).mapToObj(Integer::toString).toList());
        try (Admin stranger = Admin.create(settings(mechanism, "other"))) {
            Check.refused("a wrong password", stranger.listTopics().names(),
                    SaslAuthenticationException.class);
        }
    }

    private Map<String, Object> settings(String mechanism, String password) {
        String module = mechanism.equals("PLAIN") ? "plain.PlainLoginModule"
                : "scram.ScramLoginModule";
        Map<String, Object> settings = new HashMap<>();
        settings.put("bootstrap.servers", check.address);
        settings.put("security.protocol", "SASL_SSL");
        settings.put("ssl.truststore.type", "PEM");
        settings.put("ssl.truststore.location", authority);
        settings.put("sasl.mechanism", mechanism);
        settings.put("sasl.jaas.config", "org.apache.kafka.common.security." + module
                + " required username=\"alice\" password=\"" + password + "\";");
        return settings;
    }
}
