// What kafkajs has to see, or fail: called by ../run, which says what for.
//
//     check.js version
//     check.js work ADDRESS VECTORS       produces the matrix, and does the rest
//     check.js read ADDRESS TOPIC...      each has the records of the matrix
//     check.js group ADDRESS PREFIX       groups and administration; what it creates has the prefix
//     check.js member ADDRESS GROUP TOPIC reads TOPIC as a member of GROUP until SIGTERM
'use strict'

const { isDeepStrictEqual } = require('node:util')
const { readFileSync } = require('node:fs')
const { setTimeout: pause } = require('node:timers/promises')
const {
  AssignerProtocol: { MemberAssignment, MemberMetadata },
  CompressionCodecs,
  CompressionTypes,
  ConfigResourceTypes,
  ConfigSource,
  Kafka,
  PartitionAssigners,
  Partitioners,
  logLevel,
} = require('kafkajs')
const snappy = require('kafkajs-snappy')
const lz4 = require('lz4-napi')
const zstd = require('@bokuweb/zstd-wasm')

const RECORDS = 200
const TIMEOUT = 30_000 // ms, for anything
// Of the first record whose time is given; each is a second later than the one before.
const FIRST_TIME = 1_700_000_000_000
const HEADERS = { a: ['1', '2'], empty: '' }
const CODECS = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD,
}

// kafkajs brings gzip; others are the application's to add. kafkajs-lz4 and @kafkajs/zstd want a C
// compiler, these do not. (lz4js does not either, but Kafka takes no LZ4 with linked blocks.)
const codec = (compress, decompress) => () => ({
  compress: async encoder => Buffer.from(await compress(encoder.buffer)),
  decompress: async buffer => Buffer.from(await decompress(buffer)),
})
CompressionCodecs[CompressionTypes.Snappy] = snappy
CompressionCodecs[CompressionTypes.LZ4] = codec(lz4.compressFrame, lz4.decompressFrame)
CompressionCodecs[CompressionTypes.ZSTD] = codec(zstd.compress, zstd.decompress)

let checks = 0

class Failure extends Error {}

function same(what, seen, expected) {
  if (!isDeepStrictEqual(seen, expected)) {
    const [said, wanted] = [seen, expected].map(it => JSON.stringify(it))
    throw new Failure(`${what} differs from what is expected\nseen: ${said}\nexpected: ${wanted}`)
  }
  checks++
}

async function until(what, isDone) {
  const deadline = Date.now() + TIMEOUT
  while (!(await isDone())) {
    if (Date.now() > deadline) throw new Failure(`not done in ${TIMEOUT} ms: ${what}`)
    await pause(5)
  }
  checks++
}

// The name of the error that it ends with. kafkajs has it inside of others.
async function refusal(call) {
  try {
    return `no error, but ${JSON.stringify(await call())}`
  } catch (error) {
    let inner = error
    while (inner && !inner.type) {
      const list = inner.errors || inner.groups || inner.partitions
      inner = list ? list[0].error || list[0] : inner.cause
    }
    return inner ? inner.type : String(error)
  }
}

const range = (from, to) => Array.from({ length: to - from }, (_, at) => from + at)

const pad = number => String(number).padStart(5, '0')

const record = number => ({
  key: `key-${pad(number)}`,
  value: `value-${pad(number)} and on and on and on and on and on and on`,
  headers: HEADERS,
})

function isRecord(message, number) {
  const { key, value } = record(number)
  const texts = it => [it].flat().map(String)
  const headers = Object.entries(message.headers).map(([name, it]) => [name, texts(it)])
  return (
    message.offset === String(number) &&
    String(message.key) === key &&
    String(message.value) === value &&
    isDeepStrictEqual(headers, [['a', ['1', '2']], ['empty', ['']]])
  )
}

// As Java's range assignor; kafkajs itself has one of its own, which no other client has.
const rangeAssigner = ({ cluster }) => ({
  name: 'range',
  version: 0,
  protocol: ({ topics }) => ({
    name: 'range',
    metadata: MemberMetadata.encode({ version: 0, topics }),
  }),
  async assign({ members, topics }) {
    const assignments = new Map(members.map(({ memberId }) => [memberId, {}]))
    for (const topic of topics) {
      const wanting = members
        .filter(it => MemberMetadata.decode(it.memberMetadata).topics.includes(topic))
        .map(({ memberId }) => memberId)
        .sort()
      const partitions = cluster
        .findTopicPartitionMetadata(topic)
        .map(({ partitionId }) => partitionId)
        .sort((one, other) => one - other)
      const border = at => Math.floor(partitions.length / wanting.length) * at +
        Math.min(at, partitions.length % wanting.length)
      wanting.forEach((member, at) => {
        assignments.get(member)[topic] = partitions.slice(border(at), border(at + 1))
      })
    }
    return [...assignments].map(([memberId, assignment]) => ({
      memberId,
      memberAssignment: MemberAssignment.encode({ version: 0, assignment }),
    }))
  },
})

// A member of a group: what it holds, and what it has read.
class Member {
  constructor(client, groupId, topic, { assigner = PartitionAssigners.roundRobin, run = {} } = {}) {
    this.topics = [topic].flat()
    this.run = run
    this.held = []
    this.read = []
    this.consumer = client.kafka.consumer({
      groupId,
      partitionAssigners: [assigner],
      sessionTimeout: 6000,
      heartbeatInterval: 100,
      maxWaitTimeInMs: 20,
    })
    const { CRASH, GROUP_JOIN, REBALANCING } = this.consumer.events
    this.consumer.on(CRASH, ({ payload }) => fail(payload.error))
    this.consumer.on(REBALANCING, () => (this.held = []))
    this.consumer.on(GROUP_JOIN, ({ payload }) => {
      this.held = payload.memberAssignment[topic] || []
    })
  }

  async join() {
    await this.consumer.connect()
    await this.consumer.subscribe({ topics: this.topics, fromBeginning: true })
    await this.consumer.run({
      eachMessage: async ({ topic, partition, message }) => {
        this.read.push({ topic, partition, ...message })
      },
      ...this.run,
    })
    return this
  }

  async take(count) {
    await until(`${count} records came`, () => this.read.length >= count)
    return this.read
  }

  leave() {
    return this.consumer.disconnect()
  }
}

const numbers = messages =>
  messages.map(({ value }) => Number(value)).sort((one, other) => one - other)

// All that talks to one server.
class Client {
  constructor(address) {
    // Without retries: what is refused is told at once.
    const retry = { retries: 0 }
    this.kafka = new Kafka({ brokers: [address], logLevel: logLevel.NOTHING })
    this.admin = this.kafka.admin({ retry })
  }

  create(topic, numPartitions, configEntries = []) {
    const topics = [{ topic, numPartitions, replicationFactor: 1, configEntries }]
    return this.admin.createTopics({ topics })
  }

  async produce(settings, ...requests) {
    const createPartitioner = Partitioners.DefaultPartitioner
    const producer = this.kafka.producer({ createPartitioner, ...settings })
    await producer.connect()
    const answers = []
    for (const request of requests) answers.push(await producer.send(request))
    await producer.disconnect()
    return answers
  }

  // Records with the numbers as values, one partition after the other, a second apart.
  async produceNumbers(topic, partitions, from, to) {
    const messages = range(from, to).map(at => ({
      partition: at % partitions,
      value: String(at),
      timestamp: String(FIRST_TIME + 1000 * at),
    }))
    await this.produce({}, { topic, messages })
  }

  async read(topics) {
    const group = `kafkajs-read-${process.pid}`
    const member = await new Member(this, group, topics).join()
    await member.take(RECORDS * topics.length)
    await member.leave()
    await this.admin.deleteGroups([group])
    return member.read
  }
}

async function checkMatrix(client) {
  for (const [codec, compression] of Object.entries(CODECS)) {
    for (const [name, acks, settings] of [
      ['0', 0, {}],
      ['1', 1, {}],
      ['all', -1, {}],
      ['idempotent', -1, { idempotent: true, maxInFlightRequests: 1 }],
    ]) {
      const topic = `kafkajs-${codec}-${name}`
      const requests = [0, 50, 100, 150].map(begin => {
        const messages = range(begin, begin + 50).map(record)
        return { topic, acks, compression, messages }
      })
      const answers = await client.produce(settings, ...requests)
      if (acks !== 0) {
        const offsets = answers.map(([{ baseOffset }]) => baseOffset)
        same(`offsets of ${topic}`, offsets, ['0', '50', '100', '150'])
      }
      // What was produced with acks of 0 may still be on its way.
      await until(`all is in ${topic}`, async () => {
        const [{ low, high }] = await client.admin.fetchTopicOffsets(topic)
        return low === '0' && high === String(RECORDS)
      })
      console.log('topic', topic)
    }
  }
}

// kafkajs hashes as Java does.
async function checkHashing(client, vectors) {
  const topic = 'kafkajs-hashing'
  const rows = readFileSync(vectors, 'ascii')
    .split('\n')
    .map(line => line.split('\t'))
    .filter(row => row[1] === '12')
  same('enough vectors', rows.length >= 50, true)
  await client.create(topic, 12)
  const messages = rows.map(([key]) => ({ key: Buffer.from(key, 'hex'), value: key }))
  await client.produce({}, { topic, messages })
  const member = await new Member(client, topic, topic).join()
  const seen = await member.take(rows.length)
  await member.leave()
  const places = seen.map(({ value, partition }) => [String(value), String(partition)]).sort()
  same('partitions of keys', places, rows.map(([key, , , java]) => [key, java]).sort())
}

async function checkNulls(client) {
  const topic = 'kafkajs-nulls'
  const given = [
    { key: null, value: 'no key' },
    { key: 'no value', value: null },
    { key: '', value: '' },
  ]
  await client.produce({}, { topic, messages: given })
  const member = await new Member(client, topic, topic).join()
  const text = it => (it === null ? null : String(it))
  const seen = (await member.take(3)).map(it => ({ key: text(it.key), value: text(it.value) }))
  await member.leave()
  same('nulls', seen, given)
}

async function work(client, vectors) {
  await checkMatrix(client)
  await checkHashing(client, vectors)
  await checkNulls(client)
}

async function read(client, ...topics) {
  const messages = await client.read(topics)
  for (const topic of topics) {
    const its = messages.filter(it => it.topic === topic)
    same(`how many records ${topic} has`, its.length, RECORDS)
    const wrong = its.findIndex((message, number) => !isRecord(message, number))
    if (wrong >= 0) throw new Failure(`${topic}: ${wrong} differs: ${JSON.stringify(its[wrong])}`)
    const [{ high }] = await client.admin.fetchTopicOffsets(topic)
    same(`the end of ${topic}`, high, String(RECORDS))
  }
  console.log('records', messages.length)
}

// One member alone, one more, and one alone again.
async function checkRebalance(client, name, assigner) {
  await client.create(name, 3)
  const first = await new Member(client, name, name, { assigner }).join()
  await client.produceNumbers(name, 3, 0, 30)
  same('what the first has', numbers(await first.take(30)), range(0, 30))
  same('what it holds', [...first.held].sort(), [0, 1, 2])

  const second = await new Member(client, name, name, { assigner }).join()
  await until('they share', () => {
    const all = [...first.held, ...second.held].sort()
    return first.held.length && second.held.length && isDeepStrictEqual(all, [0, 1, 2])
  })
  const [firsts, seconds] = [first.held, second.held]
  await client.produceNumbers(name, 3, 30, 90)
  await until('both have all', () => first.read.length + second.read.length >= 90)
  same('what both have', numbers([...first.read, ...second.read]), range(0, 90))
  const isTheirs = (messages, held) => messages.every(({ partition }) => held.includes(partition))
  same('what the first has read', isTheirs(first.read.slice(30), firsts), true)
  same('what the second has read', isTheirs(second.read, seconds), true)

  await first.leave()
  await until('the second has all', () => second.held.length === 3)
  await client.produceNumbers(name, 3, 90, 120)
  await until('it reads all', () => first.read.length + second.read.length >= 120)
  await second.leave()
  same('all, once', numbers([...first.read, ...second.read]), range(0, 120))
}

async function checkCommit(client, name) {
  await client.create(name, 3)
  await client.produceNumbers(name, 3, 0, 30)
  const first = await new Member(client, name, name, { run: { autoCommit: false } }).join()
  await first.take(30)
  const committed = ['4', '10', '1']
  await first.consumer.commitOffsets(
    committed.map((offset, partition) => ({ topic: name, partition, offset, metadata: 'so far' }))
  )
  await first.leave()
  const [told] = await client.admin.fetchOffsets({ groupId: name, topics: [name] })
  const expected = committed.map((offset, partition) => ({ partition, offset, metadata: 'so far' }))
  same('what the group has committed', told, { topic: name, partitions: expected })

  const second = await new Member(client, name, name).join()
  const next = committed.map(Number)
  for (const { partition, offset } of await second.take(15)) {
    same('where it goes on', offset, String(next[partition]++))
  }
  same('where it ends', next, [10, 10, 10])
  await second.leave()

  // Offsets may also be set for a group without members. kafkajs sleeps five seconds for it.
  const partitions = range(0, 3).map(partition => ({ partition, offset: '9' }))
  await client.admin.setOffsets({ groupId: name, topic: name, partitions })
  const third = await new Member(client, name, name).join()
  same('what remains', numbers(await third.take(3)), [27, 28, 29])
  await third.leave()
}

async function checkSeek(client, name) {
  await client.create(name, 3)
  await client.produceNumbers(name, 3, 0, 90)
  const find = async after => {
    const found = await client.admin.fetchTopicOffsetsByTimestamp(name, FIRST_TIME + after)
    return found.sort((one, other) => one.partition - other.partition)
  }
  for (const [after, expected] of [
    [-1, [0, 0, 0]], [0, [0, 0, 0]], [1, [1, 0, 0]], [45_000, [15, 15, 15]],
    // kafkajs tells the end if there is nothing so late.
    [45_001, [16, 15, 15]], [88_000, [30, 29, 29]], [88_001, [30, 30, 29]], [90_000, [30, 30, 30]],
  ]) {
    const offsets = (await find(after)).map(({ offset }) => Number(offset))
    same(`offsets at ${after} ms`, offsets, expected)
  }
  const member = await new Member(client, name, name).join()
  for (const [places, begin] of [
    [await find(44_500), 45],
    [range(0, 3).map(partition => ({ partition, offset: '5' })), 15],
  ]) {
    // What was on its way before is dropped by kafkajs.
    places.forEach(place => member.consumer.seek({ topic: name, ...place }))
    member.read = []
    same('from there on', numbers(await member.take(90 - begin)), range(begin, 90))
  }
  await member.leave()
}

async function checkAdmin(client, name) {
  const { admin } = client
  const resource = { type: ConfigResourceTypes.TOPIC, name }
  const setting = async wanted => {
    const { resources } = await admin.describeConfigs({ resources: [resource] })
    const { configValue, configSource } = resources[0].configEntries.find(
      it => it.configName === wanted
    )
    return [configValue, configSource]
  }
  const hour = { name: 'retention.ms', value: '3600000' }
  const wrong = { name: 'retention.ms', value: 'long' }
  same('creation', await client.create(name, 2, [hour]), true)
  same('creation again', await client.create(name, 2), false)
  const invalid = await refusal(() => client.create(`${name}-x`, 1, [wrong]))
  same('a wrong setting', invalid, 'INVALID_CONFIG')
  same('as created', await setting('retention.ms'), ['3600000', ConfigSource.TOPIC_CONFIG])
  same('a default', await setting('cleanup.policy'), ['delete', ConfigSource.DEFAULT_CONFIG])

  // kafkajs has the older request alone, which replaces all settings.
  const alter = (its, ...configEntries) =>
    admin.alterConfigs({ resources: [{ ...resource, ...its, configEntries }] })
  await alter({}, { name: 'max.message.bytes', value: '2000000' })
  const altered = await setting('max.message.bytes')
  same('as altered', altered, ['2000000', ConfigSource.TOPIC_CONFIG])
  const reset = await setting('retention.ms')
  same('the default again', reset, ['604800000', ConfigSource.DEFAULT_CONFIG])
  same('a wrong value', await refusal(() => alter({}, wrong)), 'INVALID_CONFIG')
  const unknown = 'UNKNOWN_TOPIC_OR_PARTITION'
  const none = { name: `${name}-none` }
  same('settings of an unknown topic', await refusal(() => alter(none, hour)), unknown)

  const grow = (topic, count) => admin.createPartitions({ topicPartitions: [{ topic, count }] })
  await grow(name, 3)
  same('fewer partitions', await refusal(() => grow(name, 1)), 'INVALID_PARTITIONS')
  same('of an unknown topic', await refusal(() => grow(none.name, 3)), unknown)
  const { topics } = await admin.fetchTopicMetadata({ topics: [name] })
  same('leaders of partitions', topics[0].partitions.map(({ leader }) => leader), [1, 1, 1])

  await client.produceNumbers(name, 3, 0, 30)
  const ends = async () => {
    const all = await admin.fetchTopicOffsets(name)
    const sorted = all.sort((one, other) => one.partition - other.partition)
    return sorted.map(({ low, high }) => `${low} ${high}`)
  }
  same('where records are', await ends(), ['0 10', '0 10', '0 10'])
  const cut = (...partitions) => admin.deleteTopicRecords({ topic: name, partitions })
  await cut({ partition: 1, offset: '7' }, { partition: 2, offset: '-1' })
  same('what is left of them', await ends(), ['0 10', '7 10', '10 10'])
  const beyond = await refusal(() => cut({ partition: 0, offset: '11' }))
  same('beyond the end', beyond, 'OFFSET_OUT_OF_RANGE')

  await checkGroups(client, name)

  await admin.deleteTopics({ topics: [name] })
  const again = await refusal(() => admin.deleteTopics({ topics: [name] }))
  same('deletion again', again, unknown)
  same('in the list', (await admin.listTopics()).includes(name), false)
}

async function checkGroups(client, name) {
  const { admin } = client
  const member = await new Member(client, name, name).join()
  await member.take(13)
  const listed = async () => (await admin.listGroups()).groups.find(it => it.groupId === name)
  same('in the list', (await listed()).protocolType, 'consumer')
  const described = async () => {
    const { groups } = await admin.describeGroups([name])
    return groups[0]
  }
  const { state, protocol, protocolType, members } = await described()
  const expected = ['Stable', 'RoundRobinAssigner', 'consumer']
  same('as it is described', [state, protocol, protocolType], expected)
  const holds = members.map(it => MemberAssignment.decode(it.memberAssignment).assignment[name])
  same('what they hold', holds, [[0, 1, 2]])
  const inUse = await refusal(() => admin.deleteGroups([name]))
  same('deletion of a group with members', inUse, 'NON_EMPTY_GROUP')
  await member.leave()
  same('without members', (await described()).state, 'Empty')
  await admin.deleteGroups([name])
  const again = await refusal(() => admin.deleteGroups([name]))
  same('deletion again', again, 'GROUP_ID_NOT_FOUND')
  same('in the list again', await listed(), undefined)
  same('once it is gone', (await described()).state, 'Dead')
}

async function group(client, prefix) {
  await checkRebalance(client, `${prefix}-own`, PartitionAssigners.roundRobin)
  await checkRebalance(client, `${prefix}-range`, rangeAssigner)
  console.log('feature alone\nfeature rebalance')
  await checkCommit(client, `${prefix}-commit`)
  console.log('feature commit')
  await checkSeek(client, `${prefix}-seek`)
  console.log('feature seek')
  await checkAdmin(client, `${prefix}-admin`)
  console.log('feature admin')
}

// kafkajs commits after each batch, before it joins again, and before it leaves.
async function member(client, group, topic) {
  const eachMessage = async ({ partition, message }) => {
    process.stdout.write(`record ${partition} ${message.offset}\n`)
  }
  const stopped = new Promise(resolve => process.once('SIGTERM', resolve))
  const one = new Member(client, group, topic, { assigner: rangeAssigner, run: { eachMessage } })
  await one.join()
  await stopped
  await one.leave()
}

function fail(error) {
  console.error(error instanceof Failure ? error.message : error)
  process.exit(1)
}

async function main(task, address, ...rest) {
  if (task === 'version') {
    console.log(require('kafkajs/package.json').version)
    return
  }
  await zstd.init()
  const client = new Client(address)
  await client.admin.connect()
  await { work, read, group, member }[task](client, ...rest)
  await client.admin.disconnect()
  if (task !== 'member') console.log('checks', checks)
}

main(...process.argv.slice(2)).catch(fail)
